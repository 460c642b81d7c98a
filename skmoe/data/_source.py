"""``RowSource``: rows that are read in batches, once per pass of training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# Rows of a batch of arrays: whole units of the sums over rows.
BATCH_ROWS = 248 * 256


class RowSource:
    """Rows with their target, read in batches as often as training passes over them.

    Give it to ``fit`` in place of X, without y; made by :meth:`from_arrays`,
    :meth:`from_parquet` and :meth:`from_batches`.  Each pass must give the same rows in
    the same order; how they are cut into batches does not matter.

    Attributes
    ----------
    names : list of str or None
        Names of the columns of X, where they are known.

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

    def batches(self) -> Iterator[tuple[Any, Any, Any]]:
        """Iterator of (X, y, weights) of consecutive rows; weights may be None."""
        raise NotImplementedError

    def remembered(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make()`` finds by a pass; a source that is to be read again for the
        same ``key`` may remember it."""
        return make()

    @staticmethod
    def from_arrays(
        X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> RowSource:
        """Rows of arrays, such as memory maps, which are read piece by piece.

        Parameters
        ----------
        X : ndarray of shape (n, p)
            Floats of 32 bits stay as they are.
        y : ndarray of shape (n,) or (n, n_outputs)
        sample_weight : ndarray of shape (n,), default=None

        Returns
        -------
        RowSource

        Raises
        ------
        ValueError
            For arrays whose numbers of rows differ.

        Examples
        --------
        >>> import numpy as np
        >>> from skmoe.data import RowSource
        >>> source = RowSource.from_arrays(np.ones((3, 2)), np.arange(3.0))
        >>> [X.shape for X, y, weight in source.batches()]
        [(3, 2)]
        """
        return ArrayRows(X, y, sample_weight)

    @staticmethod
    def from_batches(factory: Callable[[], Iterable[Any]]) -> RowSource:
        """Rows of whatever a callable gives.

        Parameters
        ----------
        factory : callable
            Returns an iterator of ``(X, y)`` or ``(X, y, sample_weight)``, a fresh one
            each time, of the same rows.  Batches may be of any size, and frames.  With
            ``n_jobs`` above one they are asked for by several threads, one at a time.

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
        return BatchRows(factory)

    @staticmethod
    def from_parquet(
        path: str | PathLike[str],
        target: str,
        columns: Sequence[str] | None = None,
        weight: str | None = None,
    ) -> RowSource:
        """Rows of a parquet file, or of all files of a folder in order of their names.

        Needs pyarrow (``pip install skmoe[data]``).

        Parameters
        ----------
        path : str or path-like
        target : str or list of str
            Column, or columns, to predict.
        columns : list of str, default=None
            Columns of X, which hold numbers or text; None for all that are neither
            target nor weight. Text is read through its dictionary, which needs pandas,
            and is for additive parts, for which nulls are gaps.
        weight : str, default=None
            Column of row weights.

        Returns
        -------
        RowSource

        Raises
        ------
        ValueError
            For columns that are not there, or hold neither numbers nor text.

        Examples
        --------
        >>> from skmoe.data import RowSource
        >>> RowSource.from_parquet("rows.parquet", target="y")  # doctest: +SKIP
        """
        from ._parquet import ParquetRows

        return ParquetRows(path, target, columns, weight)


class ArrayRows(RowSource):
    """Rows of arrays, or of memory maps."""

    def __init__(self, X, y, sample_weight=None):
        self.X, self.y, self.weight = X, y, sample_weight
        sizes = {
            "X": np.shape(X)[:1],
            "y": np.shape(y)[:1],
            "sample_weight": np.shape(X if sample_weight is None else sample_weight)[
                :1
            ],
        }
        if len(set(sizes.values())) > 1 or not all(sizes.values()):
            raise ValueError(
                f"RowSource.from_arrays got {sizes} rows, but "
                "expected as many in each; give one target, and weight, for each row."
            )

    def batches(self):
        """Iterator of views of the arrays."""
        for first in range(0, len(self.X), BATCH_ROWS):
            rows = slice(first, first + BATCH_ROWS)
            weight = None if self.weight is None else self.weight[rows]
            yield self.X[rows], self.y[rows], weight


class BatchRows(RowSource):
    """Rows of the iterators that a callable returns."""

    def __init__(self, factory):
        if not callable(factory):
            raise ValueError(
                f"RowSource.from_batches got {factory!r}, but expected a callable that "
                "returns a fresh iterator for each pass; give the function, and do not "
                "call it."
            )
        self.factory = factory

    def batches(self):
        """Iterator of the batches, with None for weights that are not given."""
        for batch in self.factory():
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise ValueError(
                    f"A batch is {type(batch).__name__} of {batch!r:.60}, but expected "
                    "(X, y) or (X, y, sample_weight); yield tuples."
                )
            yield (*batch, None)[:3]
