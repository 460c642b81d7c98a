"""What transforms a table for parts: selections, encodings and splines in a graph."""

import warnings

import numpy as np
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from ..._sklearn import safe_indexing
from ..._tables.features import DECIMALS, SNAPPED, PiecewiseLinear
from ..._tables.values import Kind, is_gap
from ...experts._encoding import TableEncoder
from ._foreign import foreign_columns
from ._inputs import GAP, Matrix
from ._registry import register_transformer, transformer_converter
from ._search import count

#: A category that no table has.
UNSEEN = "\0"


def transformed(transformer, graph, inputs, who):
    """What a transformer makes of inputs, with what it makes of their sample."""
    convert = transformer_converter(transformer)
    if convert is None:
        return foreign_columns(transformer, graph, inputs, who)
    return convert(transformer, graph, inputs)


def _columns(transformer, graph, inputs):
    """Transformed columns side by side; a mere choice of columns stays one."""
    parts = [
        (own, _positions(inputs, columns))
        for _, own, columns in transformer.transformers_
        if own != "drop" and np.size(columns)
    ]
    if all(own == "passthrough" for own, _ in parts):
        return inputs.select([j for _, positions in parts for j in positions])
    made = []
    for own, positions in parts:
        seen = inputs.select(positions)
        seen.sample = safe_indexing(inputs.sample, positions, axis=1)
        passed = own == "passthrough"
        who = "a step of a ColumnTransformer"
        made.append(seen if passed else transformed(own, graph, seen, who))
    return side_by_side(graph, made)


def side_by_side(graph, parts):
    """The columns of several inputs as one matrix of numbers."""
    if len(parts) == 1:
        return parts[0]
    tensor = graph.op("Concat", *(own.numbers() for own in parts), axis=1)
    return Matrix.of(graph, tensor, sum(own.n_columns for own in parts))


def _positions(inputs, columns):
    """Positions of the columns of a selection, in whatever form."""
    if isinstance(columns, slice) or np.asarray(columns).dtype.kind == "b":
        return np.arange(inputs.n_columns)[columns].tolist()
    return [int(own) for own in inputs.positions(list(np.atleast_1d(columns)))]


def _pipeline(transformer, graph, inputs):
    sample = inputs.sample
    for _, step in transformer.steps:
        if step in (None, "passthrough"):
            continue
        inputs = transformed(step, graph, inputs, type(step).__name__)
        sample = inputs.sample = step.transform(sample)
    return inputs


def _standard(transformer, graph, inputs):
    X = inputs.numbers()
    if transformer.with_mean:
        X = graph.op("Sub", X, transformer.mean_)
    if transformer.with_std:
        X = graph.op("Div", X, transformer.scale_)
    return Matrix.of(graph, X, inputs.n_columns)


def _imputed(transformer, graph, inputs):
    """Values for gaps, and marks of columns that had some in training."""
    missing, fill = transformer.missing_values, transformer.statistics_
    if not is_gap(missing) or np.asarray(fill).dtype.kind not in "fiu":
        return foreign_columns(transformer, graph, inputs, "a SimpleImputer")
    X, fill = inputs.numbers(), np.asarray(fill, dtype=float)
    gaps, empty = graph.op("IsNaN", X), np.isnan(fill)
    parts = [graph.op("Where", gaps, np.where(empty, 0.0, fill), X)]
    width = inputs.n_columns
    if empty.any() and not transformer.keep_empty_features:
        # Columns without a value in training are left out.
        parts, width = [graph.columns(parts[0], np.flatnonzero(~empty))], (~empty).sum()
    marked = [] if transformer.indicator_ is None else transformer.indicator_.features_
    if len(marked):
        parts.append(graph.double(graph.columns(gaps, marked)))
    tensor = graph.op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    return Matrix.of(graph, tensor, int(width) + len(marked))


def _encoded(transformer, graph, inputs):
    """Text by tables of what each category becomes, numbers as they are filled."""
    text = [j for j, kind in enumerate(transformer.kinds_) if kind == Kind.TEXT]
    parts = []
    if transformer.categories_ is not None:
        parts.append(_looked_up(transformer.categories_, graph, inputs.select(text)))
    numbers = number_columns(transformer, graph, inputs)
    parts += [] if numbers is None else [numbers]
    return side_by_side(graph, parts)


def _categories(transformer, graph, inputs):
    """An encoder of categories, by tables where all columns are text."""
    if not all(own.is_text for own in inputs.columns):
        kind = type(transformer).__name__
        return foreign_columns(transformer, graph, inputs, f"an encoder ({kind})")
    return _looked_up(transformer, graph, inputs)


def _looked_up(encoder, graph, inputs):
    """What an encoder makes of columns of text."""
    parts, width = [], 0
    tables = category_tables(encoder, inputs.n_columns)
    for j, (known, table) in enumerate(tables):
        place = category_places(graph, inputs.text(j), known)
        parts.append(graph.op("Gather", table, place, axis=0))
        width += table.shape[1]
    tensor = graph.op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    return Matrix.of(graph, tensor, width)


def number_columns(transformer, graph, inputs):
    """What a ``TableEncoder`` makes of the columns that are no text, or None."""
    kinds = transformer.kinds_
    places = [j for j, kind in enumerate(kinds) if kind != Kind.TEXT]
    if not places:
        return None
    if len(places) == inputs.n_columns and None not in kinds:
        numbers = Matrix.of(graph, inputs.numbers(), len(places))
        return _finished(transformer, graph, inputs, numbers)
    each = [
        graph.filled(inputs.any_tensor(), 1) if kinds[j] is None else inputs.number(j)
        for j in places
    ]
    tensor = graph.op("Concat", *each, axis=1) if len(each) > 1 else each[0]
    numbers = Matrix.of(graph, tensor, len(places))
    return _finished(transformer, graph, inputs, numbers)


def _finished(transformer, graph, inputs, numbers):
    """Numbers as the pipeline of a ``TableEncoder`` has them, if it has one."""
    numbers.sample = transformer._parts(inputs.sample)[1]
    if transformer.numbers_ is None:
        return numbers
    who = type(transformer.numbers_).__name__
    return transformed(transformer.numbers_, graph, numbers, who)


def category_places(graph, column, known):
    """Places (n,) of the values of a column of text among known ones.

    The last place but one is that of gaps, the last one that of all others.
    """
    names = [own for own in known if own != GAP]
    places = [i for i, own in enumerate(known) if own != GAP]
    return graph.op(
        "LabelEncoder",
        graph.reshape(column, -1),
        domain="ai.onnx.ml",
        keys_strings=[*names, GAP],
        values_int64s=[*places, len(known)],
        default_int64=len(known) + 1,
    )


def category_tables(encoder, n_columns):
    """Of each column of text: known categories, and what they become.

    Returns
    -------
    list of (known, table)
        Rows of a table are those of the categories, of a gap, and of what is unseen;
        NaN where the encoder refuses it.
    """
    whole = [list(own) for own in encoder.categories_]
    known = [[own for own in each if not is_gap(own)] for each in whole]
    gaps = [next((own for own in each if is_gap(own)), None) for each in whole]
    first = [[*names, None][0] for names in known]
    found = []
    for j, names in enumerate(known):
        rows = np.empty((len(names) + 2, n_columns), dtype=object)
        rows[:] = first
        rows[:-2, j], rows[-2, j], rows[-1, j] = names, gaps[j], UNSEEN
        found.append(np.vstack([_made_of(encoder, row) for row in rows]))
    owner = _owners(found)
    pairs = enumerate(zip(known, found, strict=True))
    return [(names, own[:, owner == j]) for j, (names, own) in pairs]


def _made_of(encoder, row):
    """What an encoder makes of a row, NaN if it refuses it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = encoder.transform(row[None])
    except ValueError:
        return np.full((1, len(encoder.get_feature_names_out())), np.nan)
    made = made.toarray() if sparse.issparse(made) else made
    return np.asarray(made, dtype=float)


def _owners(found):
    """Which column (m,) made each encoded one: that with which it changes."""
    owner = np.full(found[0].shape[1], -1)
    for j, own in enumerate(found):
        refused = np.isnan(own).all(axis=1) & (own.shape[1] > 1)
        own = own[~refused]
        changes = ~((own == own[0]) | (np.isnan(own) & np.isnan(own[0]))).all(axis=0)
        owner[changes] = j
    # What never changes may be anybody's, in its place.
    for k in range(len(owner)):
        if owner[k] < 0:
            owner[k] = owner[k - 1] if k else 0
    return owner


def _ramps(transformer, graph, inputs):
    """Ramps between the knots of each column: hats are their differences."""
    unit = transformer.unit_
    scale = transformer.scale_
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    X = graph.op("Div", inputs.numbers(), unit)
    Z = graph.op("Mul", graph.op("Sub", X, transformer.center_), inverse)
    near = graph.op("Less", graph.op("Abs", Z), SNAPPED)
    # As NumPy rounds: multiplied, rounded to even, divided.
    digits = 10.0**DECIMALS
    snapped = graph.op("Div", graph.op("Round", graph.op("Mul", Z, digits)), digits)
    Z = graph.op("Where", near, snapped, Z)
    parts, width = [], 0
    for j, spline in enumerate(transformer.splines_):
        knots, degree = spline.bsplines_[0].t, spline.bsplines_[0].k
        knots, column = knots[degree:-degree], graph.columns(Z, [j])
        apart = np.all(np.diff(knots) > 0)
        parts.append((_ramps_of if apart else _steps_of)(graph, column, knots, spline))
        width += len(knots) - 1
    tensor = graph.op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    return Matrix.of(graph, tensor, width)


def _ramps_of(graph, column, knots, spline):
    """Ramps (n, b - 1) of a column (n, 1), the outer ones going on."""
    low, high = knots[:-1], knots[1:]
    share = graph.op("Div", graph.op("Sub", column, low), high - low)
    least, most = np.zeros(len(low)), np.ones(len(low))
    least[0], most[-1] = -np.inf, np.inf
    return graph.op("Min", graph.op("Max", share, least), most)


def _steps_of(graph, column, knots, spline):
    """The same where knots repeat, so that ramps jump: by what the spline says.

    All are straight between different knots, below the first and above the last one.
    """

    def ramps(values):
        hats = spline.transform(np.reshape(values, (-1, 1)))
        return np.cumsum(hats[:, ::-1], axis=1)[:, ::-1][:, 1:]

    inner = np.unique(knots)
    size = max(np.ptp(inner), 1.0)
    # Where pieces begin, and within each two places that say how steep it is.
    begins = np.array([-np.inf, *inner, np.nextafter(inner[-1], np.inf)])
    low = np.array([inner[0] - size, *inner, inner[-1] + size])
    far = np.array([*(0.5 * (inner[1:] + inner[:-1])), inner[-1], inner[-1] + 2 * size])
    far = np.array([inner[0] - 2 * size, *far])
    at = ramps(low)
    away = (far - low)[:, None]
    slope = np.divide(
        ramps(far) - at, away, out=np.zeros_like(at), where=np.abs(away) > 0
    )
    piece = graph.op("Sub", count(graph, column, begins[None]), np.int64(1))
    piece = graph.reshape(graph.op("Max", piece, np.int64(0)), -1)
    way = graph.op("Sub", column, graph.op("Gather", low[:, None], piece, axis=0))
    rise = graph.op("Mul", graph.op("Gather", slope, piece, axis=0), way)
    return graph.op("Add", graph.op("Gather", at, piece, axis=0), rise)


register_transformer(ColumnTransformer, _columns)
register_transformer(Pipeline, _pipeline)
register_transformer(StandardScaler, _standard)
register_transformer(SimpleImputer, _imputed)
register_transformer(TableEncoder, _encoded)
for _kind in (OneHotEncoder, OrdinalEncoder):
    register_transformer(_kind, _categories)
register_transformer(PiecewiseLinear, _ramps)
