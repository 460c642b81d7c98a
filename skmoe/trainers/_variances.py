"""Variances that depend on x: the models of squared residuals within each expert."""

import numpy as np

from .._numerics.curves import CurveRows
from .._numerics.design import make_design
from ..experts._base import traits
from ..experts._counts import expert_parameters
from ..experts._foreign import fit_expert
from ..experts._variance import as_numbers, variance_model

# Share of all rows below which an expert has none.
NO_ROWS = 1e-10


class Designs:
    """Views of some rows as models of them are fitted to them, each made once.

    Parameters
    ----------
    weight : (n,)
    """

    def __init__(self, weight):
        self.weight = weight
        self._designs, self._numbers, self._bins = {}, {}, {}

    def of(self, view, standardize):
        """Columns of a view."""
        key = id(view), standardize
        if key not in self._designs:
            self._designs[key] = make_design(view, self.weight, standardize)
        return self._designs[key]

    def of_numbers(self, view, standardize):
        """Columns of a view whatever holds them, for the log-linear variance."""
        return self.of(self.numbers(view), standardize)

    def numbers(self, view):
        """What a view holds as finite numbers, text and gaps encoded."""
        return self._encoded(view)[0]

    def encoder_of(self, view):
        """What makes them of a view, or None."""
        return self._encoded(view)[1]

    def _encoded(self, view):
        if id(view) not in self._numbers:
            self._numbers[id(view)] = as_numbers(view, self.weight)
        return self._numbers[id(view)]

    def of_curves(self, view, curves):
        """Bins of a view on curves, its own or those given."""
        if isinstance(view, CurveRows):
            return view
        key = id(view), curves.n_knots, curves.held
        if key not in self._bins:
            self._bins[key] = curves.fit(view, self.weight).bins(view)
        return self._bins[key]


def check_variances(task):
    """Raise ``ValueError`` early for views that a model of the variance cannot read."""
    if not task.recipe.likelihood.models_variance:
        return
    found = {}
    designs = Designs(task.rows.weight)
    for number, view in enumerate(task.rows.expert_views):
        model = _model_of(task, number, designs)
        found[id(view), type(model)] = model, view
    for model, view in found.values():
        if traits(model).fits_squares:
            model.check_view(view)


def _model_of(task, number, designs):
    """Unfitted model of the variance around an expert."""
    asked, expert = task.recipe.likelihood.model, task.recipe.experts[number]
    view = task.rows.expert_views[number]
    return variance_model(asked, expert, lambda: designs.numbers(view).shape[1])


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
    settles=False,
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
    settles : bool, default=False
        Whether models choose their penalties, too, where nothing renews them later.
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
            settles,
        )
        for k, own in enumerate(fitted)
    ]
    return task.recipe.run_fits(_fit_variance, calls)


def _fit_variance(
    task, likelihood, number, prediction, weight, designs, prior, before, settles
):
    if not weight.any():
        return likelihood
    view, model = task.rows.expert_views[number], _model_of(task, number, designs)
    reference = None
    squares = likelihood.squares(task.rows.y, prediction)
    if traits(model).fits_squares:
        rows = model.rows_of(designs, view)
        start, unit = None if before is None else before.model_, likelihood.unit_
        model.fit_squares(rows, squares, weight, prior, unit, start, settles=settles)
        reference = model.reference_
    else:
        squares = (squares + prior / weight.sum()).reshape(task.rows.labels.shape)
        model = fit_expert(model, view, squares, weight, task.recipe.seed_of(number))
    count = expert_parameters(model, task.rows.columns_of(view))
    weights, paid = (weight, task.rows.weight), traits(model).penalty()
    return likelihood.with_model(model, count, view, *weights, paid, reference)


def renewed_variances(task, fitted, weights, designs, numbers):
    """Likelihoods with the penalties that the evidence of their models of variances
    asks for, and how far the logarithms of these moved.

    Parameters are those of ``fit_variances``.
    """
    if not task.recipe.likelihood.models_variance:
        return fitted, [0.0]
    calls = [
        (task, own, number, weights[:, k], designs)
        for k, (own, number) in enumerate(zip(fitted, numbers, strict=True))
    ]
    return map(list, zip(*task.recipe.run_fits(_renewed, calls), strict=True))


def _renewed(task, likelihood, number, weight, designs):
    model = likelihood.model_
    if not traits(model).fits_squares or weight.sum() <= NO_ROWS * designs.weight.sum():
        return likelihood, 0.0
    view = task.rows.expert_views[number]
    model, moved = model.renewed_squares(model.rows_of(designs, view), weight)
    count = expert_parameters(model, task.rows.columns_of(view))
    return likelihood.holding(model, count, model.penalty(), model.reference_), moved


def at_rest(likelihood):
    """A likelihood without what only the next step of its model needs."""
    model, count = likelihood.model_, likelihood.n_parameters_
    if not traits(model).fits_squares:
        return likelihood
    return likelihood.holding(model.at_rest(), count, likelihood.penalty())
