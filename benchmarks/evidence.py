"""Whether what evidence says of curves is right: bands, penalties, one known curve.

    python benchmarks/evidence.py [--mcycle FILE.parquet] [--seeds 20]

Bands: share of knots and levels at which the 95 % band of a curve holds the truth, for
one additive expert and for the experts of a mixture whose regimes are well apart.
Penalties: the chosen one over the one of a grid with the least error against the truth.
Known curve: cross-validated error of one expert over that of SciPy's smoothing spline,
whose penalty is chosen by generalised cross-validation; on the motorcycle crash
test (times, accelerations: first and last column of FILE), or on data like it.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.interpolate import make_smoothing_spline
from sklearn.model_selection import RepeatedKFold

from skmoe import MoERegressor
from skmoe.experts import AdditiveExpert

LEVELS = dict(zip("abcdef", [0.0, 0.5, -0.7, 1.0, -0.2, 0.3], strict=True))
CURVES = {
    "wave": lambda x: np.sin(3 * x),
    "line": lambda x: 0.5 * x,
    "level": lambda x: np.array([LEVELS[own] for own in x]),
    "decay": lambda x: np.exp(-x),
    "hour": lambda x: np.cos(x * np.pi / 12),
}
SIZES, NOISES = (500, 2000, 5000), (0.3, 1.0, 3.0)
BAND = 1.96


def columns(n_rows, rng):
    """A table whose columns have the curves of ``CURVES``."""
    return pd.DataFrame(
        {
            "wave": rng.uniform(-1, 1, n_rows),
            "line": rng.normal(size=n_rows),
            "level": rng.choice(
                list(LEVELS), n_rows, p=[0.4, 0.2, 0.15, 0.1, 0.1, 0.05]
            ),
            "decay": rng.exponential(size=n_rows),
            "hour": rng.randint(0, 24, n_rows),
        }
    )


def total(X):
    """Sum (n,) of the true curves."""
    return sum(curve(X[name].to_numpy()) for name, curve in CURVES.items())


def held(curve, X, sign=1.0):
    """Whether the band of a curve holds the truth, at each knot or level."""
    true, at = CURVES[curve.name], curve.knots if curve.levels is None else curve.levels
    truth = sign * (true(np.asarray(at)) - true(X[curve.name].to_numpy()).mean())
    return np.abs(curve.values - truth) < BAND * curve.standard_errors


def held_alone(n_rows, noise, seed):
    """Shares of each curve of one expert."""
    rng = np.random.RandomState(seed)
    X = columns(n_rows, rng)
    expert = AdditiveExpert().fit(X, total(X) + noise * rng.normal(size=n_rows))
    return [held(curve, X).mean() for curve in expert.curves_]


def held_in_mixture(n_rows, noise, seed):
    """Shares of each curve of two experts whose regimes are far apart."""
    rng = np.random.RandomState(seed)
    X = columns(n_rows, rng).assign(side=rng.choice(["left", "right"], n_rows))
    left = (X["side"] == "left").to_numpy()
    y = np.where(left, 20.0 + total(X), -20.0 - total(X))
    y += noise * rng.normal(size=n_rows)
    model = MoERegressor(
        "additive",
        2,
        gate="additive",
        gate_features=["side"],
        expert_features=list(CURVES),
        n_init=3,
        random_state=seed,
    ).fit(X, y)
    shares = []
    for expert, answer in zip(model.experts_, model.predict_experts(X).T, strict=True):
        sign = np.sign(answer.mean())
        own = X[left if sign > 0 else ~left]
        # Columns that were selected are numbered.
        names = {f"x{j}": name for j, name in enumerate(CURVES)}
        curves = [each._replace(name=names[each.name]) for each in expert.curves_]
        shares += [held(curve, own, sign).mean() for curve in curves]
    return shares


def bands(n_seeds):
    """Print how often bands hold the truth."""
    print("95 % bands: share of knots and levels whose band holds the truth\n")
    print(f"{'':10}{'rows':>6}" + "".join(f"{f'noise {own}':>12}" for own in NOISES))
    for name, make in (("expert", held_alone), ("mixture", held_in_mixture)):
        for n_rows in SIZES[:2] if make is held_in_mixture else SIZES:
            means = [
                np.mean([make(n_rows, noise, seed) for seed in range(n_seeds)])
                for noise in NOISES
            ]
            print(f"{name:10}{n_rows:6}" + "".join(f"{own:12.3f}" for own in means))


def penalty_ratio(curve, n_rows, noise, seed):
    """The penalty by evidence over the best one of a grid, and so with their errors.

    Errors are root mean squares against the truth.
    """
    rng = np.random.RandomState(seed)
    X = rng.randint(0, 24, (n_rows, 1))
    truth = curve(rng)[X[:, 0]]
    y = truth + noise * rng.normal(size=n_rows)

    def error(expert):
        return np.sqrt(np.mean((expert.fit(X, y).predict(X) - truth) ** 2))

    chosen, grid = AdditiveExpert(), 2.0 ** np.arange(-4, 16)
    errors = [error(AdditiveExpert(alpha=own)) for own in grid]
    excess = error(chosen) / min(errors)
    return chosen.alpha_[0, 0] / grid[int(np.argmin(errors))], excess


def walk(rng):
    """Values of 24 hours that wander, as the penalty of first differences has it."""
    return np.cumsum(0.3 * rng.normal(size=24))


def wave(rng):
    """Values of 24 hours on one smooth wave, smoother than the penalty has it."""
    return np.cos(np.arange(24) * np.pi / 12)


def penalties(n_seeds):
    """Print how far chosen penalties are from the best ones."""
    print("\nPenalties, chosen over best: median, and quartiles of the penalty; and of")
    print("the error against the truth, median\n")
    for curve in (walk, wave):
        for n_rows, noise in ((500, 0.3), (500, 1.0), (2000, 0.3), (2000, 1.0)):
            each = [penalty_ratio(curve, n_rows, noise, own) for own in range(n_seeds)]
            ratio, excess = np.array(each).T
            low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75])
            name = curve.__name__
            print(
                f"{name:6}{n_rows:6}{noise:6}{middle:8.2f}  {low:.2f}-{high:.2f}"
                f"{np.median(excess):8.3f}"
            )


def crash(n_rows, seed):
    """Times and accelerations like those of the motorcycle crash test."""
    rng = np.random.RandomState(seed)
    x = np.sort(np.round(rng.gamma(3.5, 7.0, n_rows), 1))
    fall = -110 * np.exp(-(((x - 21) / 5) ** 2))
    truth = fall + 55 * np.exp(-(((x - 33) / 6) ** 2))
    return x, truth + np.where(x < 13, 2.0, 20.0) * rng.normal(size=n_rows)


def spline(x, y):
    """SciPy's smoothing spline, which wants each x once."""
    distinct, place, count = np.unique(x, return_inverse=True, return_counts=True)
    mean = np.bincount(place, weights=y) / count
    return make_smoothing_spline(distinct, mean, w=count.astype(float))


def known_curve(x, y, n_repeats):
    """Root mean squared errors of an expert and of the spline, over repeated folds."""
    squares = []
    for train, test in RepeatedKFold(
        n_splits=5, n_repeats=n_repeats, random_state=0
    ).split(x):
        expert = AdditiveExpert().fit(x[train, None], y[train])
        smooth = spline(x[train], y[train])
        # A spline goes astray beyond its data, where an expert stays level.
        inside = np.clip(x[test], x[train].min(), x[train].max())
        found = expert.predict(x[test, None]), smooth(inside)
        squares.append([np.mean((own - y[test]) ** 2) for own in found])
    return np.sqrt(np.mean(squares, axis=0))


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mcycle", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    bands(arguments.seeds)
    penalties(arguments.seeds)
    print("\nKnown curve: error of an expert, of SciPy's spline, and their ratio\n")
    data = {f"like mcycle, {n} rows": crash(n, 0) for n in (133, 500)}
    if arguments.mcycle is not None:
        table = pd.read_parquet(arguments.mcycle).to_numpy(float)
        data = {"mcycle": (table[:, 0], table[:, -1])} | data
    for name, (x, y) in data.items():
        own, rival = known_curve(x, y, 10)
        print(f"{name:24}{own:8.2f}{rival:8.2f}{own / rival:8.3f}")


if __name__ == "__main__":
    main()
