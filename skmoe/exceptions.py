"""Warnings and errors that skmoe raises."""

from __future__ import annotations

from typing import Any

from sklearn.exceptions import InconsistentVersionWarning

__all__ = [
    "ExpertCollapseWarning",
    "NoSampleWeightWarning",
    "OnnxExportError",
    "OtherVersionWarning",
]


def __dir__():
    return __all__


class ExpertCollapseWarning(UserWarning):
    """An expert lost its rows and was started again or removed."""


class NoSampleWeightWarning(UserWarning):
    """An expert takes no sample weights and is fitted on a weighted resample."""


class OnnxExportError(ValueError):
    """A model, or a part of one, cannot be written as an ONNX graph."""


class OtherVersionWarning(InconsistentVersionWarning):
    """A model, or a part of one, was saved by other versions than the present ones.

    Parameters
    ----------
    estimator_name : str
    saved, current : dict of str to str, or None
        Version by package; None where the state does not say.

    Attributes
    ----------
    estimator_name, saved, current : as given
    """

    def __init__(self, estimator_name: str, saved: Any, current: Any) -> None:
        saved = saved or {}
        super().__init__(
            estimator_name=estimator_name,
            current_sklearn_version=current["scikit-learn"],
            original_sklearn_version=saved.get("scikit-learn", "unknown"),
        )
        self.saved, self.current = saved, current

    def __reduce__(self):
        return type(self), (self.estimator_name, self.saved, self.current)

    def __str__(self):
        pairs = {name: self.saved.get(name, "unknown") for name in self.current}
        differ = [name for name, own in pairs.items() if own != self.current[name]]
        saved = ", ".join(f"{name} {pairs[name]}" for name in differ)
        current = ", ".join(f"{name} {self.current[name]}" for name in differ)
        return (
            f"{self.estimator_name} was saved by {saved}, but is loaded by {current}, "
            "so that it may predict otherwise; fit it again, or install the versions "
            "that saved it."
        )
