"""A graph is run before it is given away, on a sample and on rows made of it."""

from typing import NamedTuple

import numpy as np

from ..._tables.columns import column_numbers, is_number_column
from ..._tables.frames import as_columns, is_frame, of_kind
from ._foreign import difference
from ._outputs import PROBABILITY, reached
from ._registry import refuse

#: Rows of the sample that are tried, and of each kind that is made of them.
MOST_ROWS, MADE_ROWS = 200, 60
#: Largest difference of doubles relative to the spread of answers, while columns are
#: within ten standard deviations of zero; it grows with their distance.
BOUND, NEAR = 1e-12, 10.0
#: The same for parts in single precision, relative to their own limit: half of what is
#: promised, since rows that are not tried may be further off.
SINGLE_SHARE = 5.0
#: Roundings of an answer itself, which may be far from zero.
ROUNDINGS = 32
#: A level of a column of text that no training has.
UNSEEN = "level that training did not have"


class Tried(NamedTuple):
    """Rows that a graph is tried on.

    Attributes
    ----------
    X : table, as the model reads it
    n_given : int, rows that are those of the sample
    """

    X: object
    n_given: int

    def said(self, row):
        """Which row it is, in words."""
        if row < self.n_given:
            return f"row {row} of X_sample"
        return f"row {row - self.n_given} of those made of X_sample"


def tried_rows(X, layout, answer):
    """The ``Tried`` rows of a sample.

    Parameters
    ----------
    X : table
    layout : Layout
    answer : callable, which raises ``ValueError`` for rows that the model refuses
    """
    n_rows = X.shape[0]
    places = np.unique(np.linspace(0, n_rows - 1, min(n_rows, MOST_ROWS)).astype(int))
    columns = [np.asarray(_plain(own))[places] for own in as_columns(X)]
    columns = [
        _rounded(own, one) for own, one in zip(columns, layout.columns, strict=True)
    ]
    given = _table(X, columns)
    answer(given)
    rng = np.random.default_rng(0)
    blocks = [columns]
    for make in (_shuffled, _between, _beyond, _missing, _unseen):
        block = make(columns, layout, rng)
        block = (
            None
            if block is None
            else [
                _rounded(own, one)
                for own, one in zip(block, layout.columns, strict=True)
            ]
        )
        if block is not None and _reads(answer, _table(X, block)):
            blocks.append(block)
    joined = [_joined(own) for own in zip(*blocks, strict=True)]
    return Tried(_table(X, joined), len(places))


def _plain(column):
    """A column as NumPy has it: floats with NaN for gaps where it holds numbers."""
    if is_number_column(column) and np.asarray(column).dtype.kind not in "fiub":
        return column_numbers(column)
    return column


def _rounded(column, own):
    """Values that the inputs of a graph can hold."""
    if own.is_text or column.dtype.kind != "f" or own.dtype.kind != "f":
        return column
    with np.errstate(over="ignore"):
        return column.astype(own.dtype).astype(float)


def _table(X, columns):
    return of_kind(X, columns) if is_frame(X) else np.column_stack(columns)


def _joined(parts):
    if all(part.dtype == parts[0].dtype for part in parts):
        return np.concatenate(parts)
    return np.concatenate([part.astype(object) for part in parts])


def _reads(answer, X):
    try:
        return np.isfinite(np.asarray(answer(X), dtype=float)).all()
    except (TypeError, ValueError):
        return False


def _is_float(column):
    return column.dtype.kind == "f"


def _shuffled(columns, layout, rng):
    """Rows whose values come from different rows."""
    size = min(len(columns[0]), MADE_ROWS)
    return [rng.permutation(own)[:size] for own in columns]


def _between(columns, layout, rng):
    """Values halfway between neighbours, where trees have thresholds, and next to."""
    size, made = min(len(columns[0]), MADE_ROWS), []
    rows = rng.integers(len(columns[0]), size=size)
    for own in columns:
        if not _is_float(own):
            made.append(own[rows])
            continue
        known = np.unique(own[np.isfinite(own)])
        if len(known) < 2:
            made.append(own[rows])
            continue
        middle = 0.5 * (known[:-1] + known[1:])
        pool = np.concatenate([middle, known, np.nextafter(middle, np.inf)])
        made.append(rng.choice(pool, size=size))
    return made


def _beyond(columns, layout, rng):
    """Values a little outside of the range of the sample."""
    size, made = min(len(columns[0]), MADE_ROWS // 2), []
    rows = rng.integers(len(columns[0]), size=size)
    for own in columns:
        values = own[rows]
        if _is_float(own) and np.isfinite(own).any():
            low, high = np.nanmin(own), np.nanmax(own)
            step = 0.2 * (high - low)
            ends = np.array([low - step, high + step])
            values = np.where(rng.random(size) < 0.3, rng.choice(ends, size), values)
        made.append(values)
    return made


def _missing(columns, layout, rng):
    """A gap in one column of each row."""
    size = min(2 * len(columns), MADE_ROWS)
    rows = rng.integers(len(columns[0]), size=size)
    made = []
    for j, own in enumerate(columns):
        values = own[rows]
        hit = np.arange(size) % len(columns) == j
        if _is_float(own):
            values = np.where(hit, np.nan, values)
        elif layout.columns[j].is_text:
            values = np.where(hit, None, values.astype(object))
        made.append(values)
    return made


def _unseen(columns, layout, rng):
    """A level that training did not have in one column of text of each row."""
    text = [j for j, own in enumerate(layout.columns) if own.is_text]
    if not text:
        return None
    size = min(4 * len(text), MADE_ROWS)
    rows = rng.integers(len(columns[0]), size=size)
    made = [own[rows] for own in columns]
    for i in range(size):
        j = text[i % len(text)]
        made[j] = made[j].astype(object)
        made[j][i] = UNSEEN
    return made


def bound_of(expected, columns, tolerance):
    """Largest difference that is allowed, in units of the spread of answers.

    Parameters
    ----------
    expected : ndarray of shape (n, m)
    columns : list of ndarrays, of the tried rows
    tolerance : float, due to parts in single precision
    """
    far = NEAR
    for own in columns:
        if _is_float(own) and np.isfinite(own).any():
            spread, size = np.nanstd(own), np.nanmax(np.abs(own))
            far = max(far, size / spread) if spread > 0 else far
    finite = expected[np.isfinite(expected)]
    size, spread = np.abs(finite).max(initial=0.0), np.std(finite)
    own = ROUNDINGS * np.finfo(float).eps * size / max(spread, 1e-6 * size, 1e-300)
    return max(BOUND * far / NEAR, own, SINGLE_SHARE * tolerance)


def session_of(model):
    """A session of onnxruntime that runs a model on one core."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )


def check_graph(proto, outputs, tried, layout, mixture, seen, tolerance, blame):
    """Raise ``OnnxExportError`` if a graph says something else than the model.

    Parameters
    ----------
    proto : onnx.ModelProto
    outputs : list of Output
    tried : Tried
    layout : Layout
    mixture : fitted mixture
    seen : what the mixture sees of the tried rows
    tolerance : float, due to parts in single precision
    blame : callable, which names the part that is off in a row, with a remedy
    """
    found = _run(proto, outputs, layout.given(tried.X))
    columns = [np.asarray(_plain(own)) for own in as_columns(tried.X)]
    for output, values in zip(outputs, found, strict=True):
        off, row, bound = _off(output, values, columns, tolerance, mixture, seen)
        if off > bound:
            part, remedy = blame(row)
            refuse(
                f"{type(mixture).__name__} with the output {output.name!r}",
                f"in {tried.said(row)} the graph is off by {off:.2g} of the spread of "
                f"answers (allowed {bound:.2g}), and so is {part}",
                remedy,
            )


def _run(proto, outputs, given):
    names = [own.name for own in outputs]
    try:
        session = session_of(proto)
        # One row alone leaves most experts without any.
        session.run(names, {name: own[:1] for name, own in given.items()})
        return session.run(names, given)
    except Exception as error:  # Whatever onnxruntime raises.
        said = str(error).strip().splitlines()[0][:200]
        refuse(
            "this mixture",
            f"onnxruntime does not run the graph ({said})",
            "use the versions of skmoe[onnx], or other parts",
        )


def _off(output, found, columns, tolerance, mixture, seen):
    """How far an output is off, in which row, and how far it may be."""
    expected = np.asarray(output.expected)
    if np.shape(found) != expected.shape:
        return np.inf, 0, 0.0
    if output.dtype != np.float64 or expected.dtype.kind != "f":
        wrong = np.asarray(found) != expected
        return float(wrong.any()), int(np.argmax(wrong)), 0.0
    flat = expected.reshape(len(expected), -1)
    bound = bound_of(flat, columns, tolerance)
    off, row = difference(np.reshape(found, flat.shape), flat)
    if off > bound and output.squared:
        return *difference(np.square(np.reshape(found, flat.shape)), flat**2), bound
    if off > bound and output.level is not None:
        # Where hardly any density is, quantiles are anywhere.
        far = reached(mixture, seen, found, output.level)
        return float(far.max()), int(far.argmax()), PROBABILITY + 10.0 * tolerance
    return off, row, bound
