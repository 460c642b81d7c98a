"""Accuracy on the standard UCI splits, beside boosted trees and published figures.

Protocol of Hernandez-Lobato & Adams (2015): 20 random 90/10 splits, all tuning on an
inner 80/20 split of the training part by negative log-likelihood, RMSE and mean
negative log-likelihood in original units, mean +- standard error over splits.

    python benchmarks/accuracy_uci.py --data DIR [--tables yacht ...] [--splits 20]
        [--features linear piecewise]

DIR holds NAME.npz files with arrays X (n, p), y (n,) and test (20, n) masks.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe import MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate

# Published means: MC-dropout (Gal & Ghahramani, code of 2018, the same splits).
PUBLISHED = {
    "boston": (2.90, 2.40),
    "concrete": (4.82, 2.93),
    "kin8nm": (0.079, -1.14),
    "yacht": (0.67, 1.25),
}
FEATURES = {"linear": None, "piecewise": "piecewise-linear"}
SIZES = (2, 4, 8, 16, 32)
# Sizes in a row that may score worse before larger ones are given up.
PATIENCE = 2
# Ridge penalties (experts, gate), in units of rows.
PENALTIES = ((0.01, 0.1), (0.1, 1.0), (1.0, 1.0), (3.0, 3.0), (10.0, 10.0))


def mixture(n_experts, alpha, features, n_members=1):
    """The interpretable mixture: linear experts, softmax gate."""
    return MoERegressor(
        LinearExpert(alpha=alpha[0]),
        n_experts=n_experts,
        gate=SoftmaxGate(alpha=alpha[1]),
        gate_features=features,
        expert_features=features,
        n_members=n_members,
        random_state=0,
    )


def score(model, X, y):
    """RMSE and mean negative log-likelihood."""
    error = y - model.predict(X)
    return np.sqrt(np.mean(error**2)), -np.mean(model.log_density(X, y))


def choose(X, y, features):
    """Size and penalty with the best inner likelihood; sizes grow while it improves."""
    Xt, Xv, yt, yv = train_test_split(X, y, test_size=0.2, random_state=0)
    best = (np.inf, None, None)
    for alpha in PENALTIES:
        lowest, worse = np.inf, 0
        for size in SIZES:
            if size * 10 > len(yt):
                break
            nll = score(mixture(size, alpha, features).fit(Xt, yt), Xv, yv)[1]
            best = min(best, (nll, size, alpha))
            worse = worse + 1 if nll > lowest else 0
            lowest = min(lowest, nll)
            if worse == PATIENCE:
                break
    return best[1:]


def run_split(X, y, test, kinds):
    """Scores of all methods on one split."""
    Xt, yt, Xv, yv = X[~test], y[~test], X[test], y[test]
    out = {}
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13)))
    for name, model in (
        ("ridge", ridge),
        ("boosted trees", HistGradientBoostingRegressor(random_state=0)),
    ):
        error = yv - model.fit(Xt, yt).predict(Xv)
        sigma = np.std(yt - model.predict(Xt))
        nll = np.mean(0.5 * (error / sigma) ** 2) + np.log(sigma * np.sqrt(2 * np.pi))
        out[name] = np.sqrt(np.mean(error**2)), nll
    for label in kinds:
        features = FEATURES[label]
        size, alpha = choose(Xt, yt, features)
        for members in (1, 5):
            started = time.perf_counter()
            model = mixture(size, alpha, features, members).fit(Xt, yt)
            seconds = time.perf_counter() - started
            out[f"{label} x{members}"] = *score(model, Xv, yv), size, alpha, seconds
    return out


def report(name, splits):
    """Print a Markdown table of one data set."""
    print(f"\n### {name} ({len(splits)} splits)\n")
    print("| method | RMSE | NLL | experts (median) | fit seconds (median) |")
    print("|---|---|---|---|---|")
    for method in splits[0]:
        values = [s[method] for s in splits]
        rmse, nll = (np.array([v[i] for v in values]) for i in (0, 1))
        spread = [x.std(ddof=1) / np.sqrt(len(x)) for x in (rmse, nll)]
        more = "| | |"
        if len(values[0]) > 2:
            size, seconds = (np.median([v[i] for v in values]) for i in (2, 4))
            more = f"| {size:.0f} | {seconds:.2f} |"
        print(
            f"| {method} | {rmse.mean():.4g} ± {spread[0]:.2g} "
            f"| {nll.mean():.4g} ± {spread[1]:.2g} {more}"
        )
    rmse, nll = PUBLISHED.get(name, (float("nan"),) * 2)
    print(f"| MC-dropout, published | {rmse} | {nll} | | |", flush=True)


def main():
    """Run the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tables", nargs="*", default=list(PUBLISHED))
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--features", nargs="*", default=list(FEATURES))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in arguments.tables:
        table = np.load(arguments.data / f"{name}.npz")
        masks = table["test"][: arguments.splits].astype(bool)
        X, y, kinds = table["X"], table["y"], arguments.features
        report(name, [run_split(X, y, mask, kinds) for mask in masks])


if __name__ == "__main__":
    main()
