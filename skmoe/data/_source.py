"""``RowSource``: rows that are read in batches, once per pass of training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# Rows of a batch of arrays: whole units of the sums over rows.
BATCH_ROWS = 248 * 256
# What rows may bring along besides weights.
SIZES = None, "offset", "trials"


class RowSource:
    """Rows with their target, read in batches as often as training passes over them.

    Give it to ``fit`` in place of X, without y; made by :meth:`from_arrays`,
    :meth:`from_parquet` and :meth:`from_batches`.  Each pass must give the same rows in
    the same order; how they are cut into batches does not matter.

    Attributes
    ----------
    names : list of str or None
        Names of the columns of X, where they are known.
    size_name : {"offset", "trials"} or None
        What each row brings along besides its weight, as in ``fit`` of a regressor.
    has_groups : bool
        Whether rows belong to groups, as in ``fit``; those of a group stand together.
    has_target : bool
        Whether it has a target, or is only to be predicted.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.data import RowSource
    >>> from skmoe.datasets import make_regimes
    >>> X, y = make_regimes(n_samples=500, noise=0.5, random_state=0)
    >>> source = RowSource.from_arrays(X, y)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(source)
    >>> bool(model.score(X, y) > 0.9)
    True
    >>> [len(own) for own in model.predict(source)]
    [500]
    """

    names = None
    size_name = None
    has_groups = False
    has_target = True

    def batches(self) -> Iterator[tuple[Any, ...]]:
        """Iterator of (X, y, weights) of consecutive rows; weights may be None.

        So is y where there is no target, as ``has_target`` says.

        Offsets or trials are a fourth where ``size_name`` says so, and labels of groups
        are the last where ``has_groups``.
        """
        raise NotImplementedError

    def with_groups(self) -> Iterator[tuple[Any, ...]]:
        """Iterator of (X, y, weights, sizes, groups); what is not there is None."""
        for batch in self.batches():
            *own, groups = batch if self.has_groups else (*batch, None)
            yield *(*own, None, None)[:4], groups

    def with_sizes(self) -> Iterator[tuple[Any, ...]]:
        """Iterator of (X, y, weights, sizes); offsets, or trials, may be None, too."""
        return (own[:4] for own in self.with_groups())

    def remembered(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make()`` finds by a pass; a source that is to be read again for the
        same ``key`` may remember it."""
        return make()

    @staticmethod
    def from_arrays(
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> RowSource:
        """Rows of arrays, such as memory maps, which are read piece by piece.

        Parameters
        ----------
        X : ndarray of shape (n, p)
            Floats of 32 bits stay as they are.
        y : ndarray of shape (n,) or (n, n_outputs)
        sample_weight : ndarray of shape (n,), default=None
        offset, trials : ndarray of shape (n,), default=None
            As in ``fit`` of a regressor, one of them at most: logarithms of the
            exposures of the rows, or their numbers of trials.
        groups : ndarray of shape (n,), default=None
            As in ``fit``: rows of a group share one expert. They must stand together,
            as in rows that are sorted by group, and are held in memory together.

        Returns
        -------
        RowSource

        Raises
        ------
        ValueError
            For arrays whose numbers of rows differ, and for both offset and trials.

        Examples
        --------
        >>> import numpy as np
        >>> from skmoe.data import RowSource
        >>> source = RowSource.from_arrays(np.ones((3, 2)), np.arange(3.0))
        >>> [X.shape for X, y, weight in source.batches()]
        [(3, 2)]
        """
        sizes = {"offset": offset, "trials": trials}
        return ArrayRows(X, y, sample_weight, **sizes, groups=groups)

    @staticmethod
    def from_batches(
        factory: Callable[[], Iterable[Any]],
        *,
        size: str | None = None,
        groups: bool = False,
    ) -> RowSource:
        """Rows of whatever a callable gives.

        Parameters
        ----------
        factory : callable
            Returns an iterator of ``(X, y)`` or ``(X, y, sample_weight)``, a fresh one
            each time, of the same rows.  Batches may be of any size, and frames.  With
            ``n_jobs`` above one they are asked for by several threads, one at a time.
        size : {"offset", "trials"}, default=None
            What a fourth entry of each batch is; its weights may then be None.
        groups : bool, default=False
            Whether the last entry of each batch, after weights and offsets or trials,
            are labels of groups, as in :meth:`from_arrays`. A group may go on in the
            next batch.

        Returns
        -------
        RowSource

        Examples
        --------
        >>> import numpy as np
        >>> from skmoe.data import RowSource
        >>> def read():
        ...     for first in range(3):
        ...         yield np.full((2, 1), first), np.zeros(2)
        >>> len(list(RowSource.from_batches(read).batches()))
        3
        """
        return BatchRows(factory, size, groups)

    @staticmethod
    def from_parquet(
        path: str | PathLike[str],
        target: str | Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        weight: str | None = None,
        *,
        offset: str | None = None,
        trials: str | None = None,
        groups: str | None = None,
    ) -> RowSource:
        """Rows of a parquet file, or of all files of a folder in order of their names.

        Needs pyarrow (``pip install skmoe[data]``).

        Parameters
        ----------
        path : str or path-like
        target : str or list of str, default=None
            Column, or columns, to predict; None for rows that are only to be predicted.
        columns : list of str, default=None
            Columns of X, which hold numbers or text; None for all that are neither
            target nor weight, offset, trials or groups. Text is read through its
            dictionary, which needs pandas, and is for additive parts, for which nulls
            are gaps.
        weight : str, default=None
            Column of row weights.
        offset, trials : str, default=None
            Column of logarithms of exposures, or of numbers of trials, as in ``fit`` of
            a regressor; one of them at most.
        groups : str, default=None
            Column of labels of groups, by which the rows are sorted: those of a group
            share one expert, as in ``fit``.

        Returns
        -------
        RowSource

        Raises
        ------
        ValueError
            For columns that are not there, or hold neither numbers nor text, and for
            both offset and trials.

        Examples
        --------
        >>> from skmoe.data import RowSource
        >>> RowSource.from_parquet("rows.parquet", target="y")  # doctest: +SKIP
        """
        from ._parquet import ParquetRows

        besides = {"offset": offset, "trials": trials, "groups": groups}
        return ParquetRows(path, target, columns, weight, **besides)


def given_size(where, offset, trials):
    """Name and value of what rows bring along; a pair of None for nothing.

    Raises ``ValueError`` for both; ``where`` is named there.
    """
    given = {"offset": offset, "trials": trials}
    found = [(name, own) for name, own in given.items() if own is not None]
    if len(found) > 1:
        raise ValueError(
            f"{where} got both offset and trials, but expected one of them: counts and "
            "gamma take an offset, binomial takes trials; leave out the other."
        )
    return found[0] if found else (None, None)


class ArrayRows(RowSource):
    """Rows of arrays, or of memory maps."""

    def __init__(
        self, X, y, sample_weight=None, *, offset=None, trials=None, groups=None
    ):
        name, size = given_size("RowSource.from_arrays", offset, trials)
        self.size_name, self.has_groups = name, groups is not None
        named = {"X": X, "y": y, "sample_weight": sample_weight, name: size}
        named |= {"groups": groups}
        sizes = {own: np.shape(a)[:1] for own, a in named.items() if a is not None}
        always = "X", "y", "sample_weight"
        self.arrays = [a for own, a in named.items() if own in sizes or own in always]
        if len(set(sizes.values())) > 1 or not all(sizes.values()):
            raise ValueError(
                f"RowSource.from_arrays got {sizes} rows, but "
                "expected as many in each; give one target, and weight, for each row."
            )

    def batches(self):
        """Iterator of views of the arrays."""
        for first in range(0, len(self.arrays[0]), BATCH_ROWS):
            rows = slice(first, first + BATCH_ROWS)
            yield tuple(None if own is None else own[rows] for own in self.arrays)


class BatchRows(RowSource):
    """Rows of the iterators that a callable returns."""

    def __init__(self, factory, size=None, groups=False):
        if size not in SIZES:
            raise ValueError(
                f"RowSource.from_batches got size={size!r}, but expected one of "
                f"{SIZES}: what a fourth entry of each batch is."
            )
        if not callable(factory):
            raise ValueError(
                f"RowSource.from_batches got {factory!r}, but expected a callable that "
                "returns a fresh iterator for each pass; give the function, and do not "
                "call it."
            )
        self.factory, self.size_name, self.has_groups = factory, size, bool(groups)

    def batches(self):
        """Iterator of the batches, with None for weights that are not given."""
        lengths, expected = (2, 3), "(X, y) or (X, y, sample_weight)"
        more = [] if self.size_name is None else [self.size_name]
        more += ["groups"] * self.has_groups
        if more:
            lengths = (3 + len(more),)
            expected = f"(X, y, sample_weight, {', '.join(more)})"
        for batch in self.factory():
            if not isinstance(batch, (tuple, list)) or len(batch) not in lengths:
                raise ValueError(
                    f"A batch is {type(batch).__name__} of {batch!r:.60}, but expected "
                    f"{expected}; yield tuples."
                )
            yield (*batch, None)[: max(lengths)]
