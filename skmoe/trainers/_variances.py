"""Variances that depend on x: the models of squared residuals within each expert."""

from sklearn.base import clone

from .._design import make_design
from ..experts._foreign import expert_parameters, fit_expert
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


def fit_variance(likelihood, view, squares, weight, *, prior, before, seed, designs):
    """The likelihood of one expert with a variance that depends on x.

    Parameters
    ----------
    likelihood : HeteroscedasticGaussian
        With one variance for all rows.
    view : what the expert sees
    squares : (n,) or (n, d)
        Squared residuals, in the shape of the labels.
    weight : (n,)
        Weights of the rows, with the responsibility for them.
    prior : (d,)
        What the penalty of the location adds to the squares.
    before : fitted likelihood to start from, or None
    seed : int
    designs : Designs
    """
    model = variance_expert(likelihood.model, view.shape[1])
    if isinstance(model, VarianceExpert):
        design = designs.of_numbers(view, model.standardize)
        columns = squares.reshape(len(squares), -1)
        start, unit = getattr(before, "model_", None), likelihood.unit_
        model = clone(model).fit_squares(design, columns, weight, prior, unit, start)
    else:
        squares = squares + (prior / weight.sum()).reshape(squares.shape[1:])
        model = fit_expert(model, view, squares, weight, seed)
    count = expert_parameters(model)
    return likelihood.with_model(model, count, view, weight, designs.weight)
