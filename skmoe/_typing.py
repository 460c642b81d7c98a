"""Names for what public functions take: no protocol covers all kinds of tables."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from numpy.typing import ArrayLike
from scipy.sparse import sparray, spmatrix
from sklearn.base import BaseEstimator

# Arrays, lists, data frames of any library, sparse matrices.
Table: TypeAlias = ArrayLike | sparray | spmatrix
# One expert for all, a list of them, of (name, expert), or the name of a kind.
Experts: TypeAlias = str | BaseEstimator | list[Any] | tuple[Any, ...] | None
# The name of a preset, or the part itself.
Part: TypeAlias = str | BaseEstimator
# Columns by name, number, mask or selector, or a transformer.
Columns: TypeAlias = Any
# What a decorator takes and gives back.
Method = TypeVar("Method", bound=Callable[..., Any])
