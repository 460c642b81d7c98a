"""Routing by a hash of the row."""

from __future__ import annotations

import hashlib

import numpy as np
from scipy.sparse import issparse

from .._kernels.routing import hash_to_experts
from .._numerics.curves import CurveRows
from .._tables.values import Kind, as_float, is_gap, is_number, kind_of_value
from ._base import BaseRouter, Routing, check_k, is_integer

# In a second: times are whole numbers of them.
MICROSECONDS = 1e6


class HashRouter(BaseRouter):
    """The experts of a row are fixed by a hash of its columns: nothing is learned.

    The hash reads what the gate sees; choose its columns by ``gate_features``.  Equal
    rows meet the same experts in any process, on any platform, in any order, alone or
    among others, and whatever holds them: a value is the same in a column of its type,
    of objects, of categories or of text.  Whole numbers are equal that are so, others
    that are so in single precision; times that are the same microsecond, with UTC for
    those without a zone; text that is spelled alike.  Missing values are one value of
    their own, and a level that training has not seen is one like others.

    Parameters
    ----------
    k : int, default=1
        Experts per row, of equal weight.
    seed : int, default=0
        Another seed is another hash function.

    References
    ----------
    .. [1] Roller, S., Sukhbaatar, S., Szlam, A., Weston, J. (2021). Hash layers for
       large sparse models. NeurIPS, section 3 (random hash).

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import HashRouter
    >>> X = np.array([[1.0], [2.0], [1.0]])
    >>> indices = HashRouter().route(np.zeros((3, 4)), X=X).indices[:, 0]
    >>> bool(indices[0] == indices[2])
    True
    """

    masks_training = True
    gated = False

    def __init__(self, k: int = 1, seed: int = 0) -> None:
        self.k = k
        self.seed = seed

    def check(self, n_experts):
        check_k(type(self).__name__, self.k, n_experts)
        check_seed(type(self).__name__, self.seed)

    def n_active(self, n_experts):
        return min(self.k, n_experts)

    def route(self, log_gate, *, X=None, rng=None, training=False):
        n_rows, n_experts = log_gate.shape
        indices = np.empty((n_rows, self.n_active(n_experts)), dtype=np.int64)
        self._fill(bits_of(X), n_experts, indices)
        weights = np.full(indices.shape, 1.0 / indices.shape[1])
        load = np.bincount(indices.ravel(), minlength=n_experts)
        return Routing(indices, weights, load)

    def _fill(self, bits, n_experts, indices):
        """Write the experts (n, k) of rows that hold ``bits`` (n, p)."""
        hash_to_experts(bits, np.uint64(self.seed), n_experts, indices)


def check_seed(owner, seed):
    """Raise ``ValueError`` unless ``seed`` numbers a hash function."""
    if not is_integer(seed) or not 0 <= seed < 2**64:
        raise ValueError(
            f"{owner} got seed={seed!r}, but expected an integer from 0 to 2**64 - 1."
        )


def bits_of(X):
    """Unsigned integers (n, p) by which rows differ: of numbers in single precision.

    What two tables hold as numbers is the same in both, whatever their precision.
    """
    columns = _numbers(X)
    if columns is not None:
        return _number_bits(columns)
    table = None
    if not (isinstance(X, CurveRows) or issparse(X)):
        table = _cells(X)
    if table is None or table.ndim != 2:
        raise ValueError(
            "HashRouter got a gate that sees curves or a sparse table, but expected "
            "rows of numbers, text or categories, which it hashes; use "
            "gate='constant' with gate_features=[...] of such columns, or another "
            "router."
        )
    return np.column_stack([_column_bits(column) for column in table.T])


def _numbers(X):
    """Contiguous floats (n, p), or None where X holds anything else."""
    if isinstance(X, CurveRows) or issparse(X):
        return None
    own = np.asarray(X)
    if own.dtype.kind not in "fiub" or own.ndim != 2:
        return None
    return np.ascontiguousarray(own, dtype=np.float64)


def _cells(X):
    """The values of a table (n, p), as objects."""
    own = np.asarray(X)
    if own.dtype.kind in "mM":
        # As they are, finer ones would become integers.
        own = own.astype(f"{own.dtype.kind}8[us]")
    return np.asarray(own, dtype=object)


def _number_bits(values):
    with np.errstate(over="ignore", invalid="ignore"):
        single = values.astype(np.float32).astype(np.float64)
        # Numbers of customers and the like are not to meet their neighbours.
        single = np.where(values == np.floor(values), values, single)
    # Adding zero makes -0.0 and 0.0 the same bits, and there are many NaNs.
    return np.where(np.isnan(single), np.nan, single + 0.0).view(np.uint64)


def _column_bits(column):
    """Bits of text by its spelling; of numbers and times by what they are."""
    codes, values = _distinct(column)
    return np.array([_value_bits(value) for value in values], dtype=np.uint64)[codes]


def _value_bits(value):
    if is_gap(value):
        value = np.nan
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    # By itself, whatever stands in other rows.
    if is_number(value):
        return _number_bits(np.array([float(value)]))[0]
    if kind_of_value(value) in (Kind.TIMES, Kind.SPANS, Kind.CLOCKS):
        when = np.round(as_float(value) * MICROSECONDS)
        return _number_bits(np.array([when]))[0]
    digest = hashlib.blake2b(str(value).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _distinct(column):
    """Numbers (n,) of the distinct values of a column, and the values."""
    places = {}
    codes = [places.setdefault(value, len(places)) for value in column]
    return np.array(codes, dtype=np.intp), list(places)
