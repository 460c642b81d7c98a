"""What experts say of rows that they have not seen, and whom that shows to be idle."""

import numpy as np

from ..._numerics.blend import log_losses, square_losses
from ...experts._foreign import fit_expert
from .._folds import predict_fold

# Members of a pool go if without them the best blend errs by less than this share
# more, on the first fold and on all of them.
FIRST_GAIN, LAST_GAIN = 1e-3, 5e-4


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
        pairs = [
            (k, fold)
            for k in range(task.recipe.n_experts)
            for fold in numbers
            if (k, fold) not in self.parts
        ]
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

    def earning(self, gain):
        """Numbers of the experts without which the best blend would err more.

        The one that is missed least goes first, as long as the loss rises by no more
        than a share ``gain``.
        """
        rows, predictions, _ = self.answers()
        known, kept = self.task.on_rows(rows).rows, list(range(predictions.shape[1]))
        least = _blend_loss(known, predictions)
        while len(kept) > 1:
            without = [
                _blend_loss(known, predictions[:, [j for j in kept if j != k]])
                for k in kept
            ]
            idle = int(np.argmin(without))
            if without[idle] > (1.0 + gain) * least:
                break
            kept.pop(idle)
        return kept


def _blend_loss(rows, predictions):
    """Mean loss of the best blend of predictions (n, K, d)."""
    if rows.classes is None:
        losses = square_losses(predictions, rows.y, rows.weight)
    else:
        came = predictions[np.arange(len(rows.y)), :, rows.y]
        losses = log_losses(came, rows.weight)
    return float(np.average(losses, weights=rows.weight))


def members_that_earn(seen):
    """Numbers of the members of a pool that earn their cost, and ``seen`` of these.

    All are fitted without the first fold; those that add nothing there are spared the
    others.
    """
    seen.fit([0])
    kept = seen.earning(FIRST_GAIN)
    seen = seen.of_experts(kept)
    seen.fit(range(len(seen.folds)))
    again = seen.earning(LAST_GAIN)
    return [kept[k] for k in again], seen.of_experts(again)


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


def arguments(task, k, shares):
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
