"""The first pass over rows of a source, and those after it as training reads them."""

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from .._numerics.design import (
    CHUNK_ROWS,
    NEGLIGIBLE_WEIGHT,
    block_moments,
    merged_moments,
    weight_unit,
)
from .._numerics.sample import ContentSample, label_numbers, row_keys
from .._tables.table import check_units, weights_in_range
from ..engines import TreeSum, recut
from ..trainers._streamed import Stream
from .subjects import Numbering
from .target import (
    ClassTarget,
    ValueTarget,
    checked_labels,
    checked_numbers,
    plain_labels,
    sizes_of,
)
from .training import told_by

# Cells of the sample that starts and a first run are made on, and its rows.
SAMPLE_CELLS, LEAST_SAMPLE, LARGEST_SAMPLE = 1 << 22, 20_000, 200_000


def sample_rows(n_columns):
    """Rows of the sample for so many columns."""
    rows = SAMPLE_CELLS // max(n_columns, 1)
    return min(max(rows, LEAST_SAMPLE), LARGEST_SAMPLE)


class FirstPass:
    """All that training asks of a source before EM, in one pass over its rows.

    Attributes
    ----------
    n_rows, total : rows of positive weight, and the sum of their weights
    span : (2, d) least and largest outputs, None of classes
    unit : float, what a weight of one stands for in training
    sample : ContentSample of weights, numbers, words, targets and sizes
    n_groups : int, groups with rows of positive weight; None where there are none
    subjects_of_columns : Moments of the columns over groups, or None
    """

    sampled, n_groups, subjects_of_columns = ContentSample, None, None

    def __init__(self, model, source, likelihood, batches):
        self._begin(model, source, likelihood, batches)
        for number, block in enumerate(recut(self._read(), CHUNK_ROWS)):
            self._add_moments(number, *block)
        self._finish()

    def _begin(self, model, source, likelihood, batches):
        self.model, self.source, self.likelihood = model, source, likelihood
        self.batches, self.n_dims, self.classes = batches, None, None
        self.sample, self.n_rows, self.span = None, 0, None
        self.lightest, self.heaviest = np.inf, 0.0
        self.columns, self.outputs = TreeSum(merged_moments), TreeSum(merged_moments)

    def _add_moments(self, number, X, y, weight):
        """Take the moments of a block of rows by its number among those of all rows."""
        self.columns.add(number, block_moments(X, weight))
        if not self.model._classify:
            own = block_moments(y.reshape(len(y), -1), weight)
            self.outputs.add(number, own)

    def _finish(self):
        """Check what was found of all rows, and find the unit of their weights."""
        if not self.n_rows:
            raise ValueError(
                "The source has no rows of positive weight, but expected some; the "
                "factory must return a fresh iterator each time."
            )
        self.columns, self.outputs = self.columns.total(), self.outputs.total()
        self.total = float(self.columns.weight)
        weights_in_range(np.array([self.total]), "sample_weight of the source")
        if self.lightest <= NEGLIGIBLE_WEIGHT * self.heaviest:
            raise ValueError(
                f"sample_weight of the source goes from {self.lightest:.3g} to "
                f"{self.heaviest:.3g}, beside which a row is lost; give the lightest "
                "rows a weight of zero."
            )
        self.unit = weight_unit(self.total / self.n_rows)

    def _read(self):
        """Validated rows of positive weight, of which the sample is drawn."""
        return (self._taken(*rows) for rows in self._counting())

    def _counting(self):
        """Columns, words, labels, weights, sizes, and what tells groups, of rows of
        positive weight."""
        for X, y, weight, size, groups in self.source.with_groups():
            if not len(X):
                continue
            rows = *self.batches.read(X), self._labels(y, X), row_numbers(weight, X)
            rows = *rows, self._sizes(size, len(X)), *self._groups(groups, len(X))
            counts = rows[3] > 0
            if not counts.any():
                continue
            if not counts.all():
                rows = [own[counts] for own in rows]
            yield rows

    def _groups(self, groups, n_rows):
        """What tells the groups of a batch; nothing where rows are by themselves."""
        return ()

    def _sizes(self, size, n_rows):
        """Exposures or trials (n, 1) of a batch, (n, 0) for none."""
        name = self.source.size_name
        if name is None:
            return np.empty((n_rows, 0))
        if size is None:
            raise ValueError(
                f"A batch of the source has None for {name}, but expected a number for "
                "each row; give it in every batch."
            )
        owner = type(self.model).__name__
        return sizes_of(self.likelihood, owner, n_rows, {name: size})[:, None]

    def _taken(self, X, words, y, weight, sizes):
        """Rows that count, of which the sample takes its share."""
        self._look(X, y, weight, sizes)
        keys = row_keys(np.column_stack([X, self._numbers(y), sizes]))
        self.sample.add(keys, weight, X, words, y, sizes)
        return self.batches.measured(X), y, weight

    def _look(self, X, y, weight, sizes):
        """Check rows that count, and count them."""
        if not self.model._classify:
            self.likelihood.check_target(y.reshape(len(y), -1), one_size(sizes))
        if self.sample is None:
            self.sample = self.sampled(sample_rows(X.shape[1]))
        self._count(weight, y)

    def _numbers(self, y):
        """Targets as numbers, which tell rows apart."""
        return label_numbers(y) if self.model._classify else y

    def _labels(self, y, X):
        """A batch of y as ``fit`` takes it."""
        if self.model._classify:
            y = checked_labels(y, X)
            check_classification_targets(y)
            return y
        y = checked_numbers(y, X, self.model)
        if self.n_dims is None:
            self.n_dims = y.shape[1:]
        if y.shape[1:] != self.n_dims:
            raise ValueError(
                f"A batch has y of shape {y.shape}, but the first one has "
                f"{('n', *self.n_dims)}; give the same outputs each time."
            )
        check_units(y.reshape(len(y), -1), ["y"] * y[:1].size, small=True)
        return y

    def _count(self, weight, y):
        self.n_rows += len(weight)
        self.lightest = min(self.lightest, float(weight.min()))
        self.heaviest = max(self.heaviest, float(weight.max()))
        if self.model._classify:
            known = np.unique(y)
            before = known if self.classes is None else self.classes
            self.classes = np.union1d(before, known)
            return
        ends = y.reshape(len(y), -1)
        self.span = joined_spans(ends if self.span is None else self.span, ends)

    def target(self):
        """The target, by all rows."""
        if self.model._classify:
            return ClassTarget(self.classes)
        return ValueTarget(1 + len(self.n_dims), int(np.prod(self.n_dims)))

    def stream(self, target, code):
        """What training is given to read all rows again; ``code`` reads columns."""
        tell = told_by(self.model)
        n_sample = len(self.sample.rows()[0])
        tell(f"first pass: {self.n_rows} rows, {n_sample} different ones in the sample")

        def read():
            return encoded(self.source, target, code, self.unit, self.likelihood)

        subjects = self.subjects_of_columns
        if subjects is not None:
            subjects = subjects._replace(weight=subjects.weight / self.unit)
        return Stream(
            read=read,
            n_rows=self.n_rows,
            columns=self.columns._replace(weight=self.total / self.unit),
            outputs=None if self.model._classify else self.outputs,
            span=self.span,
            dtype=self.batches.dtype,
            whole=self.sample.whole,
            tell=tell,
            subjects=subjects,
        )


def joined_spans(one, other):
    """Least and largest outputs (2, d) of the rows of both."""
    low = np.minimum(one.min(axis=0), other.min(axis=0))
    return np.stack([low, np.maximum(one.max(axis=0), other.max(axis=0))])


def one_size(sizes):
    """Exposures or trials (n,) out of (n, 1); None out of (n, 0)."""
    return sizes[:, 0] if sizes.shape[1] else None


def encoded(source, target, code, unit, likelihood):
    """Rows of positive weight as training reads them, which were checked before.

    Numbers of groups, where there are any, are a fourth array, before sizes.
    """
    # The first pass has seen that no group comes back.
    standing = Numbering("Training", remembers=False)
    for X, y, weight, size, groups in source.with_groups():
        if not len(X):
            continue
        X = code(X)
        own = np.asarray(y, dtype=float) if target.classes is None else plain_labels(y)
        y = target.encode(own if own.ndim == 1 or target.classes is None else own[:, 0])
        weight = row_numbers(weight, X) / unit
        rows, counts = (X, y, weight), weight > 0
        if source.has_groups:
            rows = *rows, standing.numbered(groups, len(X))[0]
        if size is not None:
            rows = *rows, likelihood.size_of(np.asarray(size, dtype=float))
        yield rows if counts.all() else tuple(own[counts] for own in rows)


def row_numbers(weight, X):
    """Weights (n,) of the rows of a batch, ones for None."""
    n_rows = len(X)
    if weight is None:
        return np.ones(n_rows)
    weight = np.asarray(weight, dtype=np.float64)
    if weight.shape != (n_rows,) or not np.all(np.isfinite(weight) & (weight >= 0.0)):
        raise ValueError(
            f"A batch of {n_rows} rows has sample_weight of shape {weight.shape}, but "
            "expected a finite number >= 0 for each row; leave out rows without one."
        )
    return weight
