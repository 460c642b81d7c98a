"""Dask collections as partitions of rows; Dask is imported when it is needed."""

import numpy as np

from .._tables.frames import is_collection

# What rows may bring along besides weights.
SIZES = "offset", "trials"


def dask():
    """Dask with its scheduler for several machines."""
    try:
        import dask
        import dask.array
        import distributed  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "skmoe.distributed needs dask and distributed; pip install skmoe[dask]."
        ) from error
    return dask


def client_of(model):
    """The client of an estimator, or the one that is there."""
    dask()
    from distributed import get_client

    if model.client is not None:
        return model.client
    try:
        return get_client()
    except ValueError as error:
        raise ValueError(
            f"{type(model).__name__} got client=None, and there is no other, but "
            "expected one of Dask's; start workers by client = distributed.Client()."
        ) from error


def check_collections(model, **given):
    """Raise ``ValueError`` for rows that are no Dask collections."""
    for name, own in given.items():
        if not is_collection(own):
            raise ValueError(
                f"{type(model).__name__} got {name} as {type(own).__name__}, but "
                "expected a Dask array or data frame; use dask.array.from_array, or "
                f"{type(model).local.__name__} for rows in memory."
            )


def is_array(collection):
    """Whether a Dask collection is an array, and not a data frame or a series."""
    return isinstance(collection, dask().array.Array)


def partitions(model, **given):
    """Delayed parts of rows of collections that belong together, and row counts.

    Parameters
    ----------
    model : mixture, for messages
    **given : Dask collections by name; the first says where rows are cut

    Returns
    -------
    parts : list of tuples of Delayed, one for each partition
    sizes : list of int, NaN where it is not known
    """
    check_collections(model, **given)
    first = next(iter(given.values()))
    sizes = row_sizes(first)
    cut = {name: _delayed(own, sizes) for name, own in given.items()}
    counts = {name: len(own) for name, own in cut.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"{type(model).__name__} got {counts} partitions, but expected as many of "
            "each; repartition them alike."
        )
    return list(zip(*cut.values(), strict=True)), sizes


def row_sizes(collection):
    """Rows of each partition, NaN for those of data frames."""
    if is_array(collection):
        return list(collection.chunks[0])
    return [np.nan] * collection.npartitions


def _delayed(collection, sizes):
    """Partitions of whole rows, cut like others where their sizes are known."""
    if not is_array(collection):
        return collection.to_delayed()
    own = collection.chunks[0]
    known = not np.isnan([*own, *sizes]).any()
    if known and sum(own) == sum(sizes):
        collection = collection.rechunk({0: tuple(sizes)})
    if collection.ndim > 1:
        collection = collection.rechunk({1: -1})
    return list(collection.to_delayed().ravel())
