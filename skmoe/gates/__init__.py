"""Gates give the log-weights of the experts for each row."""

from .._numerics.network import Network
from .._numerics.tree import Tree
from .._stamp import public
from ._additive import AdditiveGate
from ._base import BaseGate, LinearForm
from ._classifier import ClassifierGate
from ._constant import ConstantGate
from ._gaussian import GaussianGate
from ._group import GroupGate
from ._mlp import MLPGate
from ._sigmoid import SigmoidGate
from ._softmax import SoftmaxGate
from ._sums import ConstantSums, CurveGateSums, GaussianSums, SoftmaxSums
from ._tree import NoiseTreeGate, TreeGate
from ._tree_sums import TreeSums

__all__ = [
    "AdditiveGate",
    "BaseGate",
    "ClassifierGate",
    "ConstantGate",
    "GaussianGate",
    "GroupGate",
    "MLPGate",
    "SigmoidGate",
    "SoftmaxGate",
]

public(
    __name__,
    AdditiveGate,
    BaseGate,
    LinearForm,
    ClassifierGate,
    ConstantGate,
    GaussianGate,
    GroupGate,
    MLPGate,
    SigmoidGate,
    SoftmaxGate,
    TreeGate,
    NoiseTreeGate,
    Network,
    Tree,
    # What a batch leaves.
    ConstantSums,
    CurveGateSums,
    GaussianSums,
    SoftmaxSums,
    TreeSums,
)
