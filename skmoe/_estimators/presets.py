"""What strings stand for: parts by their names, and pools of experts."""

from typing import Any, NamedTuple

from .._stamp import Stamped
from ..experts import AdditiveExpert, LinearExpert, MLPExpert
from ..gates import (
    AdditiveGate,
    ConstantGate,
    GaussianGate,
    MLPGate,
    SigmoidGate,
    SoftmaxGate,
)
from ..trainers import EM, Gradient, HardEM, TwoStage
from ..trainers._two_stage.looks import PoolTerms

EXPERTS = {"linear": LinearExpert, "additive": AdditiveExpert, "mlp": MLPExpert}
GATES = {
    "softmax": SoftmaxGate,
    "additive": AdditiveGate,
    "mlp": MLPGate,
    "sigmoid": SigmoidGate,
    "gaussian": GaussianGate,
    "constant": ConstantGate,
}
TRAINERS = {
    "em": EM,
    "hard-em": HardEM,
    "gradient": Gradient,
    "two-stage": TwoStage,
}
# Pools stand above the mixtures, which are among their members: the package fills in.
POOLS: dict[str, type] = {}


class PoolMember(NamedTuple):
    """A member of a pool.

    Attributes
    ----------
    name : str
    estimator : unfitted estimator
    dropped : str or None
        Why it was left out; None if it is an expert of the mixture.
    called : str or None
        What it is called where people read it: its name, and its correction.
    """

    name: str
    estimator: Any
    dropped: str | None
    called: str | None = None

    def __repr__(self):
        said = f"left out, {self.dropped}" if self.dropped else "in use"
        return f"PoolMember({self.called or self.name}: {said})"


class Pool(Stamped):
    """Base of what stands for different experts until it has seen the table."""

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""

    def encoding(self):
        """Unfitted transformer from raw columns to numbers, for the gate."""
        raise NotImplementedError

    def members(self, classify):
        """Names and unfitted estimators, of classifiers or of regressors."""
        raise NotImplementedError

    def terms(self):
        """``PoolTerms``: what members cost, and may cost together."""
        return PoolTerms({})

    def screen(self, names, experts, X, y, apart=()):
        """A ``PoolMember`` for each, with the reason of those that are left out."""
        raise NotImplementedError
