"""What the built-in experts share."""

from sklearn.frozen import FrozenEstimator

from .._stamp import Stamped


class BuiltInExpert(Stamped):
    """Base of experts that read numbers and take their task from the mixture."""

    #: Whether training reads sparse columns as they are.
    reads_sparse = False

    #: The classes that serve numbers and class labels; set beside the subclasses.
    _regressor = None
    _classifier = None

    #: How much weight of rows the penalty outweighs.
    penalty_rows = 0.0

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""

    def count(self, columns):
        """Free parameters, given the ``Columns`` that the expert was fitted to."""
        return self.n_parameters_

    def for_classes(self):
        """The classification expert with the same parameters."""
        return self._classifier(**self.get_params())

    def for_likelihood(self, likelihood):
        """The regression expert for a likelihood."""
        if likelihood.link != "identity":
            raise ValueError(
                f"{type(self).__name__} predicts any number, but {likelihood!r} needs "
                f"means through a {likelihood.link} link; use LinearExpert, or a "
                "scikit-learn estimator that predicts such means."
            )
        return self.for_values()

    def for_values(self):
        """The regression expert with the same parameters."""
        return self._regressor(**self.get_params())


class CorrectedExpert(Stamped):
    """Base of fitted experts whose answers are corrected."""


def reads_numbers(expert):
    """Whether an expert is a built-in one, frozen or not, which reads float arrays."""
    return isinstance(_innermost(expert), BuiltInExpert)


def reads_sparse(expert):
    """Whether a built-in expert is trained on sparse columns as they are."""
    return _innermost(expert).reads_sparse


def _innermost(expert):
    while isinstance(expert, (FrozenEstimator, CorrectedExpert)):
        expert = expert.estimator
    return expert
