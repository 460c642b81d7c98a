"""Variances that depend on x: the models of squared residuals within each expert."""

import numpy as np

from .._numerics.design import make_design
from ..experts._base import traits
from ..experts._counts import expert_parameters
from ..experts._foreign import fit_expert
from ..experts._variance import VarianceExpert, finite_numbers, variance_expert


class Designs:
    """Views of some rows as linear models read them, each made once.

    Parameters
    ----------
    weight : (n,)
    """

    def __init__(self, weight):
        self.weight = weight
        self._designs, self._numbers = {}, {}

    def of(self, view, standardize):
        """Columns of a view."""
        key = id(view), standardize
        if key not in self._designs:
            self._designs[key] = make_design(view, self.weight, standardize)
        return self._designs[key]

    def of_numbers(self, view, standardize):
        """Columns of a view whatever holds them, for the log-linear variance."""
        if id(view) not in self._numbers:
            self._numbers[id(view)] = finite_numbers(view)
        return self.of(self._numbers[id(view)], standardize)


def check_variances(task):
    """Raise ``ValueError`` early for views that a model of the variance cannot read."""
    if task.recipe.likelihood.models_variance:
        for view in {id(view): view for view in task.rows.expert_views}.values():
            model = variance_expert(task.recipe.likelihood.model, view.shape[1])
            if isinstance(model, VarianceExpert):
                finite_numbers(view)


def fit_variances(
    task,
    fitted,
    predictions,
    weights,
    designs,
    *,
    numbers=None,
    priors=None,
    before=None,
):
    """Likelihoods with models of their variances, where those depend on x.

    Parameters
    ----------
    task : Task
    fitted : list of likelihoods, with one variance for all rows
    predictions : list of (n, d)
    weights : (n, K)
        Weights of the rows, with the responsibilities for them.
    designs : Designs
    numbers : list of int, default=None
        Which experts of the task they are; all by default.
    priors : list of (d,), default=None
        What penalties of the location add to the squares.
    before : list of fitted likelihoods to start from, default=None
    """
    if not task.recipe.likelihood.models_variance:
        return fitted
    numbers = range(len(fitted)) if numbers is None else numbers
    nothing = np.zeros(task.rows.y.shape[1])
    calls = [
        (
            task,
            own,
            numbers[k],
            predictions[k],
            weights[:, k],
            designs,
            nothing if priors is None else priors[k],
            before[k] if before else None,
        )
        for k, own in enumerate(fitted)
    ]
    return task.recipe.run_fits(_fit_variance, calls)


def _fit_variance(task, likelihood, number, prediction, weight, designs, prior, before):
    if not weight.any():
        return likelihood
    view = task.rows.expert_views[number]
    model = variance_expert(likelihood.model, view.shape[1])
    squares = likelihood.squares(task.rows.y, prediction)
    if isinstance(model, VarianceExpert):
        design = designs.of_numbers(view, model.standardize)
        start, unit = None if before is None else before.model_, likelihood.unit_
        model = model.fit_squares(design, squares, weight, prior, unit, start)
    else:
        squares = (squares + prior / weight.sum()).reshape(task.rows.labels.shape)
        model = fit_expert(model, view, squares, weight, task.recipe.seed_of(number))
    count = expert_parameters(model, task.rows.columns_of(view))
    weights, paid = (weight, task.rows.weight), traits(model).penalty()
    return likelihood.with_model(model, count, view, *weights, paid)
