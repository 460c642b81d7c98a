"""How each expert is fitted in an M-step, by what it declares."""

import copy

import numpy as np
from sklearn.base import clone

from ..._numerics.design import FEW_COLUMNS
from ..._sklearn import safe_indexing
from ...experts._base import traits
from ...experts._foreign import fit_expert
from ...experts._glm import target_units
from .._variances import Designs
from .penalties import NO_ROWS

# With fewer rows than this an expert may be unable to answer.
FEW_ROWS = 50
# Weight of all rows for an expert that starts with too few of its own.
FALLBACK_SHARE = 0.01


class ExpertFits:
    """Fits of the experts of a task to weighted rows.

    Parameters
    ----------
    task : Task
    """

    def __init__(self, task):
        self.task, self.designs = task, Designs(task.rows.weight)
        if task.rows.classes is None:
            likelihood = task.recipe.likelihood
            self.units = target_units(likelihood, task.rows.y, task.rows.weight)

    def is_biased(self, number):
        """Whether a ridge has a share in what an expert predicts."""
        expert = self.task.recipe.experts[number]
        return (
            self.task.rows.classes is None
            and self.task.rows.expert_views[number].shape[1] <= FEW_COLUMNS
            and self.task.recipe.likelihood.of_expert(number).scales_ridge
            and traits(expert).biased_by_ridge
        )

    def fit(
        self, number, share, previous, likelihood=None, row_weight=None, settle=None
    ):
        """One expert fitted to its share of the rows.

        Parameters
        ----------
        number : int, of the expert
        share : (n,) responsibilities
        previous : the expert of the last M-step, or None
        likelihood : its fitted likelihood, or None
        row_weight : (n,) what rows count for one that minimises squares, or None
        settle : None, or whether the bias of a ridge is taken out
        """
        task = self.task
        weight = share * task.rows.weight
        if not self._can_fit(weight):
            if previous is not None:
                return previous
            # At the start there is nothing to keep: let the expert see all rows.
            weight = weight + FALLBACK_SHARE * task.rows.weight
        expert, view = task.recipe.experts[number], task.rows.expert_views[number]
        if traits(expert).steps:
            view, more = self._for_step(number, likelihood)
            own, labels = copy.copy(expert), task.rows.labels
            return own.step(view, labels, weight, previous=previous, **more)
        if traits(expert).is_linear:
            return self._fit_linear(number, weight, previous, likelihood, settle)
        if task.rows.log_prior is not None:
            # Only built-in experts are let in beside a shared classifier.
            return clone(expert).fit(
                view, task.rows.labels, weight, offset=task.rows.log_prior
            )
        return self._fit_if_enough(number, view, weight, previous, row_weight)

    def _fit_if_enough(self, number, view, weight, previous, row_weight):
        """An estimator of another library, or the one before if rows are too few."""
        task = self.task
        try:
            fitted = self._fit_foreign(number, weight, row_weight)
            if np.count_nonzero(weight) < FEW_ROWS:
                task.rows.answer_of(fitted, safe_indexing(view, [0]))
            return fitted
        except ValueError:
            # How few rows are too few only the expert knows.
            if np.all(weight > 0):
                raise
        if previous is not None:
            return previous
        weight = weight + FALLBACK_SHARE * task.rows.weight
        return self._fit_foreign(number, weight, row_weight)

    def _fit_foreign(self, number, weight, row_weight):
        task, labels = self.task, self.task.rows.labels
        if row_weight is not None:
            weight = weight * row_weight
        if task.rows.size is not None:
            labels = labels / task.rows.size.reshape(-1, *[1] * (labels.ndim - 1))
            family = task.recipe.likelihood.of_expert(number)
            by_size = family.weighing(task.rows.size)
            weight = weight if by_size is None else weight * by_size
        return fit_expert(
            task.recipe.experts[number],
            task.rows.expert_views[number],
            labels,
            weight,
            task.recipe.seed_of(number),
            task.rows.fit_params[number] if task.rows.fit_params else None,
        )

    def settled(self, number, share, previous, likelihood, row_weight, free):
        """As ``fit``, without the bias of a ridge if ``free``; others stay."""
        if not self.is_biased(number):
            return previous
        return self.fit(number, share, previous, likelihood, row_weight, free)

    def _fit_linear(self, number, weight, previous, likelihood, settle):
        """A linear expert, on columns that are standardised by all rows."""
        task, more = self.task, {}
        expert, view = task.recipe.experts[number], task.rows.expert_views[number]
        if expert.follows_likelihood:
            bound = None if likelihood is None else likelihood.at(view)
            more = {"likelihood": bound, "size": task.rows.size, "unit": self.units}
            more["start"] = previous
        elif task.rows.log_prior is not None:
            more = {"offset": task.rows.log_prior}
        if settle is not None:
            more["settle"] = settle
        design = self.designs.of(view, expert.standardize)
        own = clone(expert).with_penalty_of(previous)
        return own.fit_design(design, task.rows.labels, weight, **more)

    def fit_near(self, number, share, previous, likelihood, anchor, pull):
        """One linear expert under a penalty of the way from a fitted one, ``anchor``.

        Parameters
        ----------
        number, share, previous, likelihood
            As in ``fit``.
        anchor : fitted expert
        pull : float, the penalty in units of rows
        """
        task = self.task
        view, more = self._for_step(number, likelihood)
        if task.rows.classes is None:
            more["unit"] = self.units
        own, weight = clone(task.recipe.experts[number]), share * task.rows.weight
        labels = task.rows.labels
        return own.fit_near(anchor, pull, previous, view, labels, weight, **more)

    def _can_fit(self, weight):
        """Whether the weighted rows suffice: some, and two classes to tell apart."""
        rows = weight > 0
        if self.task.rows.classes is None:
            return bool(rows.any())
        return len(np.unique(self.task.rows.y[rows])) >= min(
            2, len(self.task.rows.classes)
        )

    def renewed(self, number, share, expert, likelihood):
        """An expert with the penalties by its evidence, and how far they moved."""
        if not traits(expert).renews:
            return expert, 0.0
        view, more = self._for_step(number, likelihood)
        if expert.is_linear:
            view = self.designs.of(view, expert.standardize)
        weight = share * self.task.rows.weight
        if weight.sum() <= NO_ROWS * self.task.rows.weight.sum():
            return expert, 0.0
        return expert.renewed(view, self.task.rows.labels, weight, **more)

    def _for_step(self, number, likelihood):
        """View of an expert, and what its steps take beside rows and weights."""
        rows = self.task.rows
        view = rows.expert_views[number]
        if rows.classes is not None:
            return view, {"classes": rows.classes, "offset": rows.log_prior}
        bound = None if likelihood is None else likelihood.at(view)
        return view, {"likelihood": bound, "size": rows.size}
