"""Fits of all sizes, each from the one before.

The sizes are one path, from the largest down: after each fit the two experts that
share most of their rows are merged, and the next fit starts from there; along the
penalties of one size each fit starts from the one before.  So only the first fit starts
from nothing.
"""

import warnings

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from .._resolve import TRAINERS, preset
from ..exceptions import ExpertCollapseWarning
from ._merging import merged, n_explaining, n_noise

# Gain per iteration that ends a fit on the path, in nats per row.
PATH_TOL = 1e-5
# Iterations after which the starts of the first fit are compared: what is wrong with
# the best of them is mostly merged away.
PATH_SHORT_ITER = 5
# Rows that an expert on the path must keep for each of its coefficients, and the
# largest share of all rows that may be asked for.
ROWS_PER_COLUMN, MOST_LOST = 2, 0.1


def briefly_trained(estimator, n_rows, n_columns):
    """The mixture as a path trains it: no finer than it takes to tell sizes apart.

    Experts with fewer than ROWS_PER_COLUMN rows per coefficient are given up: they
    may owe their likelihood to fitting these rows exactly.
    """
    trainer = preset(estimator.trainer, TRAINERS, "trainer", type(estimator).__name__)
    if hasattr(trainer, "tol"):
        trainer.set_params(tol=max(trainer.tol, PATH_TOL))
    if hasattr(trainer, "short_iter"):
        trainer.set_params(short_iter=min(trainer.short_iter, PATH_SHORT_ITER))
    if hasattr(trainer, "min_load"):
        least = min(ROWS_PER_COLUMN * (n_columns + 1) / n_rows, MOST_LOST)
        trainer.set_params(min_load=max(trainer.min_load, least))
    return clone(estimator).set_params(trainer=trainer)


class Path:
    """Fits of all sizes and penalties on some rows, each from the one before.

    Parameters
    ----------
    estimator : unfitted mixture
    sizes : list of int
    grid : list of dict
    warm : bool
        Whether fits start from earlier ones.
    """

    def __init__(self, estimator, sizes, grid, warm=True):
        self.estimator, self.sizes, self.grid = estimator, sizes, grid
        self.warm = warm

    def walk(self, rows):
        """Yield size, number of the penalties and fitted mixture."""
        # Members would be averages of starts; the path looks at one.
        estimator = clone(self.estimator).set_params(n_members=1)
        if self.warm:
            shape = rows.n_rows, np.shape(rows.X)[1]
            estimator = briefly_trained(estimator, *shape)
        larger = [None] * len(self.grid)
        for size in sorted(self.sizes, reverse=True):
            stronger = None
            for number, params in enumerate(self.grid):
                model = clone(estimator).set_params(n_experts=size, **params)
                model = self._next(rows, model, larger[number], stronger)
                yield size, number, model
                if self.warm:
                    larger[number] = stronger = model

    def _next(self, rows, model, larger, stronger):
        """Fit of one size, from that with the penalty before, or from the next larger.

        A larger one that was left with fewer experts than ``size`` stands for it.
        """
        size, n_fixed = model.n_experts, int(model._has_noise())
        if larger is not None and n_explaining(larger) < size:
            return larger
        for before in (stronger, larger):
            if before is None or n_noise(before) != n_fixed:
                continue
            if n_explaining(before) >= size:
                resp = rows.responsibilities(before)
                resp = merged(resp, size + n_fixed, rows.weight, n_fixed)
                return self._fit(model, rows, resp)
        return self._fit(model, rows, None)

    def _fit(self, model, rows, resp):
        with warnings.catch_warnings():
            # Fewer experts than asked for is what a path is there to find.
            warnings.simplefilter("ignore", ExpertCollapseWarning)
            warnings.simplefilter("ignore", ConvergenceWarning)
            return rows.fit(model, resp)


def scores_of_fold(path, rows, train, test, scorer):
    """Scores (n_sizes, n_grid) of held-out rows; parameters and experts left."""
    training, held_out = rows.take(train), rows.take(test)
    shape = len(path.sizes), len(path.grid)
    scores, counts, left = np.empty(shape), np.empty(shape), np.empty(shape)
    for size, number, model in path.walk(training):
        at = path.sizes.index(size), number
        if scorer is None:
            scores[at] = held_out.log_density(model)
        else:
            # A function of the user's own takes what it takes.
            weighs = rows.weight is not None and hasattr(scorer, "set_score_request")
            weight = {"sample_weight": held_out.weight} if weighs else {}
            scores[at] = scorer(model, held_out.X, held_out.y, **weight)
        counts[at] = np.nan if model.n_parameters_ is None else model.n_parameters_
        left[at] = n_explaining(model)
    return scores, counts, left


def simplest_within_error(scores, counts):
    """Number of the candidate with fewest parameters that is no worse than the best.

    No worse means that the mean of the differences over folds is within one standard
    error of it.

    Parameters
    ----------
    scores : (n_candidates, n_folds)
    counts : (n_candidates,) parameters, NaN where they have no count
    """
    best = int(np.argmax(scores.mean(axis=1)))
    gap = scores[best] - scores
    n_folds = scores.shape[1]
    error = gap.std(axis=1, ddof=min(1, n_folds - 1)) / np.sqrt(n_folds)
    close = np.flatnonzero(gap.mean(axis=1) <= error)
    if np.isnan(counts[close]).any():
        return int(close[0])
    return int(close[np.argmin(counts[close])])


def smallest_of_equals(values, total_weight):
    """Number of the first candidate that differs from the best by no more than training
    leaves open.

    Parameters
    ----------
    values : (n_candidates,) of a criterion, ascending in size
    total_weight : float
    """
    slack = 2.0 * PATH_TOL * total_weight
    return int(np.flatnonzero(values <= values.min() + slack)[0])
