"""Answers of a fitted mixture about the rows of a source, written as they come."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from operator import methodcaller
from os import PathLike
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator

from ._parquet import reader
from ._source import RowSource

# What may be written, and the name of its columns.
ANSWERS = {
    "predict": "prediction",
    "predict_proba": "proba",
    "log_density": "log_density",
}


def write_predictions(
    model: BaseEstimator,
    source: RowSource,
    path: str | PathLike[str],
    answers: Sequence[str] = ("predict",),
) -> int:
    """Write what a fitted mixture says of the rows of a source to a parquet file.

    Rows come in the order of the source, those of weight zero, too, and are held batch
    by batch.  The file is there when all rows are, and not before: where anything
    fails, one that was there stays as it was.  Needs pyarrow
    (``pip install skmoe[data]``).

    Parameters
    ----------
    model : fitted mixture, or search for one
    source : RowSource
        Read once for each of the answers; it needs a target for ``"log_density"`` only.
    path : str or path-like
        Of the file, whose folder has to be there.
    answers : sequence of str, default=("predict",)
        ``"predict"``, ``"predict_proba"`` and ``"log_density"``: columns
        ``prediction``, ``proba_`` with the class, and ``log_density``; those of several
        outputs end in their number.

    Returns
    -------
    int
        Rows that were written.

    Raises
    ------
    ValueError
        For other answers, for those that the model does not give, and for a source
        that the model cannot read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skmoe import MoERegressor
    >>> from skmoe.data import RowSource, write_predictions
    >>> from skmoe.datasets import make_regimes
    >>> X, y = make_regimes(n_samples=500, noise=0.5, random_state=0)
    >>> source = RowSource.from_arrays(X, y)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(source)
    >>> path = Path(tempfile.mkdtemp()) / "predictions.parquet"
    >>> write_predictions(model, source, path, answers=["predict", "log_density"])
    500
    """
    asked, path = checked(answers, model), Path(path)
    if not path.parent.is_dir():
        raise ValueError(
            f"write_predictions got the path {str(path)!r}, whose folder is not there; "
            "make it, or give another path."
        )
    if source.has_groups and "log_density" in asked:
        raise ValueError(
            "write_predictions got answers with 'log_density' and a source with "
            "groups, of which each has one log-density for all its rows; iterate over "
            "log_density(source), or give a source without groups."
        )
    found = [methodcaller(name, source)(model) for name in asked]
    each = zip(*found, strict=True)
    batches = (columns_of(model, asked, own) for own in each)
    return written(batches, path, reader())


def checked(answers, model):
    """Names of answers that a model gives."""
    names = [answers] if isinstance(answers, str) else list(answers)
    known = [name for name in names if name in ANSWERS and name in dir(model)]
    if not names or known != names:
        raise ValueError(
            f"write_predictions got answers={answers!r}, but expected some of "
            f"{[*ANSWERS]} that the model has, which is {type(model).__name__}."
        )
    return names


def columns_of(model, names, found):
    """Columns (n,) by name of what each of the answers says of one batch."""
    columns = {}
    for name, own in zip(names, found, strict=True):
        title, own = ANSWERS[name], np.asarray(own)
        if own.ndim == 1:
            columns[title] = own
            continue
        ends = model.classes_ if name == "predict_proba" else range(own.shape[1])
        for end, column in zip(ends, own.T, strict=True):
            columns[f"{title}_{end}"] = column
    return columns


def written(batches, path, arrow):
    """Number of the rows that were written to a file, which is there at the end."""
    handle, made = tempfile.mkstemp(".part", f".{path.name}-", path.parent)
    os.close(handle)
    try:
        n_rows = _write_all(batches, made, arrow)
        os.replace(made, path)
    except BaseException:
        os.unlink(made)
        raise
    return n_rows


def _write_all(batches, path, arrow):
    writer, n_rows = None, 0
    try:
        for columns in batches:
            table = arrow.table({name: arrow.array(x) for name, x in columns.items()})
            if writer is None:
                writer = arrow.parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
            n_rows += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    if not n_rows:
        raise ValueError(
            "write_predictions got a source without rows; let the factory return a "
            "fresh iterator each time."
        )
    return n_rows
