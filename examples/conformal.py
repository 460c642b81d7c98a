"""Intervals of a mixture, calibrated so that they cover what they say.

    python examples/conformal.py [--picture FILE]

Two lines cross, and their spread grows with x: one cloud in the middle, two branches on
either side.  A mixture whose variances depend on x is fitted to three quarters of the
rows.  Its intervals are right if the model is; conformal calibration by MAPIE, which
``pip install "skmoe[conformal]"`` brings along, makes their coverage right on average,
whatever the model, from rows that were held out.  The script prints coverage and width
of both, also for a mixture that is wrong (one spread for all rows), and draws density
and intervals.
"""

import argparse

import matplotlib as mpl
import numpy as np
from mapie.regression import ConformalizedQuantileRegressor
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import train_test_split

from skmoe import MoERegressor
from skmoe.inspection import PredictiveDensityDisplay

mpl.use("Agg")
COVERAGE = 0.9


class Quantile(RegressorMixin, BaseEstimator):
    """One quantile of a fitted mixture, as MAPIE wants its regressors."""

    def __init__(self, mixture, level):
        self.mixture = mixture
        self.level = level

    def fit(self, X, y):
        """The mixture is fitted already."""
        return self

    @property
    def n_features_in_(self):
        """Columns of the mixture, which show MAPIE that it is fitted."""
        return self.mixture.n_features_in_

    def predict(self, X):
        """Quantiles (n,)."""
        return self.mixture.predict_quantile(X, self.level)


def crossing(n_rows, seed):
    """Rows and targets of two crossing lines."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, size=n_rows)
    center = np.where(rng.uniform(size=n_rows) < 0.5, 1.5 * x, -0.5 * x)
    return x[:, None], center + 0.15 * np.exp(0.5 * x) * rng.normal(size=n_rows)


def calibrated(mixture, X, y):
    """The mixture's intervals after conformal calibration on held-out rows."""
    levels = (1 - COVERAGE) / 2, (1 + COVERAGE) / 2, 0.5
    parts = [Quantile(mixture, level) for level in levels]
    conformal = ConformalizedQuantileRegressor(parts, COVERAGE, prefit=True)
    conformal.conformalize(X, y)
    return lambda rows: conformal.predict_interval(rows)[1][:, :, 0]


def report(name, ends, X, y):
    """Print coverage, in both halves of x, and mean width."""
    inside = (y >= ends[:, 0]) & (y <= ends[:, 1])
    right = X[:, 0] > 0
    print(
        f"{name:34} covers {inside.mean():6.1%} (left {inside[~right].mean():6.1%}, "
        f"right {inside[right].mean():6.1%}), width {np.ptp(ends, axis=1).mean():.2f}"
    )


def draw(mixture, interval, X, y, path):
    """Density with quantiles, and calibrated intervals over held-out rows."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 4.2), sharey=True, layout="constrained"
    )
    PredictiveDensityDisplay.from_estimator(mixture, X, 0, ax=left)
    left.set_title("density, and its 5, 50 and 95 % quantiles")
    right.plot(X[:, 0], y, ".", markersize=2, alpha=0.4)
    grid = np.linspace(-2, 2, 200)[:, None]
    low, high = interval(grid).T
    right.fill_between(grid[:, 0], low, high, alpha=0.25, color="C1")
    right.plot(
        grid, mixture.predict_mode(grid), color="C1", label="most probable branch"
    )
    right.set(title=f"calibrated {COVERAGE:.0%} intervals", xlabel="x0")
    right.legend()
    figure.savefig(path, dpi=120)
    print(f"Picture: {path}")


def main():
    """Fit, calibrate, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", default="conformal.png")
    arguments = parser.parse_args()
    X, y = crossing(6000, seed=0)
    X_fit, X_rest, y_fit, y_rest = train_test_split(X, y, random_state=0)
    halves = train_test_split(X_rest, y_rest, test_size=0.5, random_state=0)
    X_hold, X_test, y_hold, y_test = halves
    for likelihood in ("heteroscedastic", "gaussian"):
        mixture = MoERegressor(n_experts=2, gate="constant", likelihood=likelihood)
        mixture.set_params(random_state=0).fit(X_fit, y_fit)
        interval = calibrated(mixture, X_hold, y_hold)
        name = f"{likelihood} mixture"
        report(name, mixture.predict_interval(X_test, COVERAGE), X_test, y_test)
        report(f"{name}, calibrated", interval(X_test), X_test, y_test)
        if likelihood == "heteroscedastic":
            draw(mixture, interval, X_test, y_test, arguments.picture)


if __name__ == "__main__":
    main()
