"""What experts say of rows that they have not seen."""

import numpy as np

from ...experts._foreign import fit_expert
from .._folds import predict_fold


class OutOfFold:
    """Predictions of left out rows, fold by fold.

    Parameters
    ----------
    task : Task
    folds : list of pairs of training and test rows
    shares : (n, K) of the rows that each expert is fitted to, or None for all
    cv : what the user gave for the folds, for messages
    """

    def __init__(self, task, folds, shares, cv):
        self.task, self.folds, self.shares, self.cv = task, folds, shares, cv
        self.parts = {}

    def fit(self, numbers):
        """Have all experts predict the test rows of some folds, by their numbers."""
        task, names = self.task, self.task.recipe.names
        pairs = [(k, fold) for k in range(task.recipe.n_experts) for fold in numbers]
        calls = [
            (self.folds[fold], task.rows.classes, *arguments(task, k, self.shares))
            for k, fold in pairs
        ]
        many = len(self.folds)
        told = task.report.steps(
            [f"{names[k]} without fold {fold + 1} of {many}" for k, fold in pairs]
        )
        found = task.recipe.run_fits(_predict_left_out, calls, told)
        for (k, fold), part in zip(pairs, found, strict=True):
            check_finite(part, names[k])
            self.parts[k, fold] = part

    def of_experts(self, kept):
        """The same of some of the experts, by number."""
        own = OutOfFold(self.task.of_experts(kept), self.folds, self.shares, self.cv)
        place = {k: number for number, k in enumerate(kept)}
        own.parts = {
            (place[k], fold): part
            for (k, fold), part in self.parts.items()
            if k in place
        }
        return own

    def with_folds(self, folds):
        """The same experts on other folds, of which nothing is known."""
        return OutOfFold(self.task, folds, self.shares, self.cv)

    def with_experts(self, experts):
        """Other experts in the place of these, of which nothing is known."""
        task = self.task.with_recipe(experts=experts)
        return OutOfFold(task, self.folds, self.shares, self.cv)

    def answers(self):
        """Rows that were predicted, predictions (m, K, d), and folds of the rows."""
        n_rows, n_experts = len(self.task.rows.y), self.task.recipe.n_experts
        width = next(iter(self.parts.values())).shape[1]
        found = np.full((n_rows, n_experts, width), np.nan)
        fold_of = np.zeros(n_rows, dtype=int)
        for (k, fold), part in self.parts.items():
            found[self.folds[fold][1], k] = part
        for number, (_, test) in enumerate(self.folds):
            fold_of[test] = number
        rows = np.flatnonzero(np.isfinite(found).all(axis=(1, 2)))
        if len(rows) < 2:
            raise ValueError(
                f"TwoStage got cv={self.cv!r}, by which {len(rows)} of {n_rows} "
                "rows were predicted by experts that had not seen them; use more folds."
            )
        return rows, found[rows], fold_of[rows]


def check_finite(prediction, name):
    """Raise ``ValueError`` for predictions of the expert ``name`` that are none."""
    if not np.isfinite(prediction).all():
        raise ValueError(
            f"Expert {name!r} predicted NaN or infinity for rows that it had not seen; "
            "leave it out, or bound its predictions."
        )


def _predict_left_out(fold, classes, expert, view, labels, weight, seed, fit_params):
    """Predictions of the test rows of a fold, by ``arguments``."""
    return predict_fold(
        expert,
        view,
        labels,
        weight,
        fold,
        classes=classes,
        seed=seed,
        fit_params=fit_params,
    )


def arguments(task, k, shares=None):
    """Arguments of ``fit_expert`` for an expert of a task."""
    weight = task.rows.weight if shares is None else shares[:, k] * task.rows.weight
    return (
        task.recipe.experts[k],
        task.rows.expert_views[k],
        task.rows.labels,
        weight,
        task.recipe.seed_of(k),
        task.rows.fit_params[k] if task.rows.fit_params else None,
    )


def fitted_to_all(task, shares):
    """All experts of a task, fitted to shares of all rows."""
    names = task.recipe.names
    calls = [arguments(task, k, shares) for k in range(len(names))]
    told = task.report.steps([f"{name} on all rows" for name in names])
    return task.recipe.run_fits(fit_expert, calls, told)
