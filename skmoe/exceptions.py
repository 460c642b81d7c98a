"""Warnings and errors that skmoe raises, and how errors about words end."""

from __future__ import annotations

import difflib
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


# How alike two words are, of 1, of which one may be meant by the other: more than
# "normal" and "log-normal".
CLOSE = 0.76
# How an error ends that knows no better word.
NOTHING_MEANT = "."


def did_you_mean(value, known):
    """End of an error about a word: the known one that it is nearly, or a full stop."""
    words = {own.lower(): own for own in known if isinstance(own, str)}
    asked = value.lower() if isinstance(value, str) else ""
    close = difflib.get_close_matches(asked, sorted(words), n=1, cutoff=CLOSE)
    return f"; did you mean {words[close[0]]!r}?" if close else NOTHING_MEANT


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
