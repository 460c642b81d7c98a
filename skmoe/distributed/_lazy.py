"""Answers about Dask collections: one task for each partition, computed when asked."""

import uuid
from typing import NamedTuple

import numpy as np

from ._collections import dask


class Answer(NamedTuple):
    """The shape of a row's answer, and the type of its numbers."""

    tail: tuple
    dtype: object


def lazily(model, method, answers, partitions, options):
    """What a method of a fitted mixture says of partitions, as Dask arrays.

    Parameters
    ----------
    model : fitted mixture of rows in memory
    method : function of its class, which answers rows
    answers : tuple of Answer, one for each array that the method returns
    partitions : list of tuples of Delayed, and numbers of their rows
    options : dict of further arguments

    Returns
    -------
    dask.array.Array of shape (n, *tail), or a tuple of them
    """
    (parts, sizes), library = partitions, dask()
    known = library.delayed(model, traverse=False, pure=False)
    ask = library.delayed(answered, nout=len(answers), pure=False)
    asked = [ask(known, method, answers, own, options) for own in parts]
    arrays = [
        joined([own[place] for own in asked], sizes, answer)
        for place, answer in enumerate(answers)
    ]
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def joined(parts, sizes, answer):
    """Delayed arrays of the rows of partitions as one Dask array, empty ones too."""
    library = dask()
    name, tail = f"skmoe-{uuid.uuid4().hex}", (0,) * len(answer.tail)
    keys = {(name, place, *tail): own.key for place, own in enumerate(parts)}
    graph = library.highlevelgraph.HighLevelGraph.from_collections(name, keys, parts)
    chunks = tuple(sizes), *((width,) for width in answer.tail)
    return library.array.Array(graph, name, chunks, dtype=answer.dtype)


def answered(model, method, answers, rows, options):
    """A tuple of what a method says of the rows of a partition, which may have none."""
    if not len(rows[0]):
        return tuple(np.empty((0, *own.tail), own.dtype) for own in answers)
    found = method(model, *rows, **options)
    return (found,) if len(answers) == 1 else found
