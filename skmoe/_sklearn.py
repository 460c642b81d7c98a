"""The only door to scikit-learn's private names, and to what not all versions have.

Each is used because no public name does the same; when scikit-learn moves one, this
is the file to change.
"""

from __future__ import annotations

from sklearn.base import _fit_context as fit_context
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._available_if import _AvailableIfDescriptor
from sklearn.utils._metadata_requests import _raise_for_params as raise_for_params
from sklearn.utils._metadata_requests import _routing_enabled as routing_enabled
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
)
from sklearn.utils._param_validation import StrOptions as _StrOptions
from sklearn.utils._pprint import _EstimatorPrettyPrinter as Printer
from sklearn.utils._repr_html.estimator import _VisualBlock as VisualBlock
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import _check_feature_names_in as check_names_in
from sklearn.utils.validation import _check_method_params as taken_params
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import check_is_fitted

from ._typing import Method

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _with_callbacks
except ImportError:
    # Before 1.9 there is nothing to call back; ``verbose`` tells how training comes on.
    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this version of scikit-learn has no callbacks."""

    def _with_callbacks(method):
        return method


class _Available(_AvailableIfDescriptor):
    """Says in the words of the check why there is no such method."""

    def _check(self, obj, owner):
        self.check(obj)


def available_if(check):
    """Decorator of a method that is there unless ``check`` raises ``AttributeError``.

    The error says why there is none, and what to do, where scikit-learn's says that
    there is none.
    """
    return lambda method: _Available(method, check, attribute_name=method.__name__)


class StrOptions(_StrOptions):
    """Strings that a parameter may be, which errors name in order."""

    def __str__(self):
        return f"a str among {{{', '.join(map(repr, sorted(self.options)))}}}"


def words_of(constraints):
    """Strings that a parameter may be, sorted; none where none, or any, are named."""
    known = [own.options for own in constraints if isinstance(own, StrOptions)]
    return sorted(set().union(*known))


def with_callbacks(method: Method) -> Method:
    """A ``fit`` that ends what callbacks have begun, where there are callbacks."""
    return _with_callbacks(method)


def check_fitted(part, attribute):
    """``check_is_fitted``, which costs more than an answer, where it would not pass."""
    if attribute not in vars(part):
        check_is_fitted(part)


def own_request(estimator):
    """Metadata that an estimator takes itself, or None; routers keep theirs inside."""
    routing = get_routing_for_object(estimator)
    return getattr(routing, "_self_request", routing)


def printed_as_estimator(kind):
    """Class decorator: long parameters break lines in spite of an own ``__repr__``."""
    Printer._dispatch[kind.__repr__] = Printer._pprint_estimator
    return kind


__all__ = [
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "StrOptions",
    "VisualBlock",
    "available_if",
    "check_fitted",
    "check_matplotlib_support",
    "check_names_in",
    "check_sample_weight",
    "fit_context",
    "own_request",
    "printed_as_estimator",
    "raise_for_params",
    "routing_enabled",
    "safe_indexing",
    "taken_params",
    "with_callbacks",
    "words_of",
]
