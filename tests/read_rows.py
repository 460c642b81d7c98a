"""Rows that tests read in batches and partitions, and samples of few of them."""

import numpy as np

from skmoe._estimators import first_pass
from skmoe.data import RowSource
from skmoe.trainers._em import streamed, streamed_parts


def two_regimes(n_rows, rare_beyond, idle):
    """Columns, numbers, labels and weights, some of them zero.

    Labels are rare where the first column is beyond a value, and the rows of the slice
    ``idle`` do not count.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 3)) * [1.0, 100.0, 0.01] + [0.0, 1e3, 0.0]
    right = X[:, 0] > 0
    y = np.where(right, 0.02 * (X[:, 1] - 1e3), 1.0 - 100 * X[:, 2])
    y += 0.3 * rng.normal(size=n_rows)
    labels = np.where(right, X[:, 1] > 1e3, X[:, 2] > 0.005).astype(int)
    labels[X[:, 0] > rare_beyond] = 2
    labels = np.array(["no", "yes", "rare"])[labels]
    weight = rng.uniform(0.5, 2.0, n_rows) * (rng.random(n_rows) > 0.1)
    weight[idle] = 0.0
    return X, y, labels, weight


def in_batches(*arrays, sizes=(700,), size=None, groups=False):
    """A source of arrays or frames in batches of some sizes, over and over.

    ``size`` is what the fourth of the arrays is, as of ``RowSource.from_batches``, and
    ``groups`` whether the last of them are labels.
    """

    def read():
        first, number = 0, 0
        while first < len(arrays[0]):
            last = first + sizes[number % len(sizes)]
            yield tuple(None if own is None else own[first:last] for own in arrays)
            first, number = last, number + 1

    return RowSource.from_batches(read, size=size, groups=groups)


def limit_samples(n_sampled, n_first=None, setattr=setattr):
    """Let samples hold few rows, and first runs be on fewer, in this process."""
    for name in ("LEAST_SAMPLE", "LARGEST_SAMPLE"):
        setattr(first_pass, name, n_sampled)
    if n_first is not None:
        for module in (streamed, streamed_parts):
            setattr(module, "FIRST_ROWS", n_first)
