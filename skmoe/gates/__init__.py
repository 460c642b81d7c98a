"""Gates give the log-weights of the experts for each row."""

from ._classifier import ClassifierGate
from ._constant import ConstantGate
from ._gaussian import GaussianGate
from ._group import GroupGate
from ._mlp import MLPGate
from ._softmax import SoftmaxGate

__all__ = [
    "ClassifierGate",
    "ConstantGate",
    "GaussianGate",
    "GroupGate",
    "MLPGate",
    "SoftmaxGate",
]
