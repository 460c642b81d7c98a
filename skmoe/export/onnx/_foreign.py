"""Estimators of other libraries in a graph: converted by skl2onnx, and compared.

Every estimator is tried in double precision first, and in single precision where that
does not run or answers otherwise; none is taken that disagrees with itself.
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.utils import get_tags

from ..._sklearn import safe_indexing
from ..._tables.frames import is_frame
from ...experts._base import FOREIGN, traits
from ._graph import OPSETS
from ._inputs import Layout, Matrix
from ._registry import refuse

#: Largest difference of answers, relative to their spread, in either precision.
SINGLE = 1e-5
LIMITS = {np.float64: 1e-9, np.float32: SINGLE}


class Attempt(NamedTuple):
    """One way to convert an estimator.

    Attributes
    ----------
    dtype : type of the floats that it is given
    framed : bool, whether columns are inputs of their own
    """

    dtype: type
    framed: bool


class Found(NamedTuple):
    """A conversion that runs.

    Attributes
    ----------
    attempt : Attempt
    model : onnx.ModelProto
    output : int, position of the output that counts
    error : largest difference of answers, relative to their spread
    row : where that is, among the rows of the sample
    """

    attempt: Attempt
    model: object
    output: int
    error: float
    row: int


def foreign(estimator, graph, inputs, who):
    """What an estimator of another library predicts: (n, d), or (n, C)."""
    _refuse_known(estimator, who)
    proba = is_classifier(estimator)
    answer = estimator.predict_proba if proba else estimator.predict
    tensor = _converted(estimator, answer, graph, inputs, who, 1 if proba else 0)
    if proba:
        return tensor
    # Of no rows, which an expert may have, no number of columns could be told.
    first = np.asarray(answer(safe_indexing(inputs.sample, [0])))
    return graph.reshape(tensor, -1, first.size)


def foreign_columns(transformer, graph, inputs, who):
    """What a transformer of another library makes of inputs."""

    def answer(X):
        made = transformer.transform(X)
        return made.toarray() if sparse.issparse(made) else np.asarray(made, float)

    tensor = _converted(transformer, answer, graph, inputs, who, 0)
    width = answer(doubles(inputs.sample)[:1]).shape[1]
    return Matrix.of(graph, tensor, width)


def is_transformer(estimator):
    """Whether an estimator makes columns, rather than to predict."""
    return get_tags(estimator).transformer_tags is not None


def _refuse_known(estimator, who):
    """Refuse by name what is known to go wrong, also where rows do not show it."""
    if traits(estimator) is not FOREIGN:
        refuse(
            f"{who} ({type(estimator).__name__})",
            "no converter is registered for its class",
            "register one by skmoe.export.onnx.register_expert, or, if the mixture is "
            "on disk, export the one that was put there",
        )


def doubles(sample):
    """A sample with floats in double precision, as graphs compute."""
    single = isinstance(sample, np.ndarray) and sample.dtype == np.float32
    return sample.astype(np.float64) if single else sample


def _converted(estimator, answer, graph, inputs, who, output):
    """Append the conversion of an estimator; returns its answer as doubles."""
    expected = np.asarray(answer(doubles(inputs.sample)), dtype=float)
    expected = expected.reshape(len(expected), -1)
    best, said = None, []
    for attempt in _attempts(inputs):
        found = _attempted(estimator, attempt, inputs, expected, output, said)
        if found is not None and (best is None or found.error < best.error):
            best = found
        if best is not None and best.error <= LIMITS[best.attempt.dtype]:
            break
    _check_found(best, said, estimator, who)
    graph.tolerance = max(graph.tolerance, LIMITS[best.attempt.dtype])
    given = _given(graph, inputs, best.attempt)
    return graph.double(graph.include(best.model, given, best.output))


def _check_found(best, said, estimator, who):
    kind, transforms = type(estimator).__name__, is_transformer(estimator)
    register = "register_transformer" if transforms else "register_expert"
    if best is None:
        refuse(
            f"{who} ({kind})",
            f"skl2onnx does not convert it ({said[-1] if said else 'no way is known'})",
            "use another one in its place, or register a converter by "
            f"skmoe.export.onnx.{register}({kind}, ...)",
        )
    if not best.error <= LIMITS[best.attempt.dtype]:
        refuse(
            f"{who} ({kind})",
            f"the graph that skl2onnx makes of it is off by {best.error:.2g} of the "
            f"spread of its answers, most in row {best.row} of those tried (thresholds "
            "of trees are single in onnxruntime, so that rows near them may fall on "
            "the other side)",
            "give dtype=numpy.float32, if columns are as good in single precision, or "
            "use another estimator for it",
        )


def _attempts(inputs):
    """Ways to convert, the best first."""
    text = any(own.is_text for own in inputs.columns)
    framed = [True] if text else [False, True]
    if not is_frame(inputs.sample):
        framed = [False]
    return [Attempt(own, f) for own in (np.float64, np.float32) for f in framed]


def _attempted(estimator, attempt, inputs, expected, output, said):
    """A conversion, compared with the estimator itself; None if it fails."""
    import onnxruntime
    import skl2onnx

    options = {id(estimator): {"zipmap": False}} if output else None
    types = [
        (name, _type_of(dtype, width))
        for name, dtype, width in _described(inputs, attempt)
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = skl2onnx.to_onnx(
                estimator, initial_types=types, options=options, target_opset=OPSETS
            )
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
        )
        names = [own.name for own in session.get_outputs()]
        found = session.run([names[output]], _fed(inputs, attempt))[0]
        found = np.asarray(found, dtype=float).reshape(expected.shape)
    except Exception as error:  # Whatever of these libraries goes wrong.
        said.append(f"{type(error).__name__}: {str(error).splitlines()[0][:120]}")
        return None
    error, row = difference(found, expected)
    return Found(attempt, model, output, error, row)


def difference(found, expected):
    """Largest difference in units of the spread of answers (n, m), and its row."""
    finite = np.isfinite(expected)
    size = np.where(finite, np.abs(expected), 0.0).max(initial=0.0)
    spread = np.std(expected[finite]) if finite.any() else 0.0
    unit = max(spread, 1e-6 * size, np.finfo(float).tiny)
    off = np.where(finite, np.abs(found - expected), found != expected) / unit
    off = np.where(np.isnan(expected) & np.isnan(found), 0.0, off)
    off = np.where(np.isnan(off), np.inf, off).max(axis=1)
    row = int(off.argmax())
    return float(off[row]), row


def _described(inputs, attempt):
    """Name, type and number of columns of each input of a conversion."""
    if not attempt.framed:
        return [("X", np.dtype(attempt.dtype), inputs.n_columns)]
    return [
        (
            str(own.label),
            np.dtype(attempt.dtype) if own.dtype.kind == "f" else own.dtype,
            1,
        )
        for own in inputs.columns
    ]


def _type_of(dtype, width):
    from skl2onnx.common import data_types as types

    kinds = {
        "f8": "DoubleTensorType",
        "f4": "FloatTensorType",
        "b1": "BooleanTensorType",
    }
    kinds |= {"i8": "Int64TensorType"}
    kind = kinds.get(dtype.str[1:], "StringTensorType")
    return vars(types)[kind]([None, width])


def _fed(inputs, attempt):
    """The sample as a session takes it."""
    if not attempt.framed:
        return {"X": np.asarray(inputs.sample, dtype=attempt.dtype)}
    given = Layout(inputs.columns, True).given(inputs.sample)
    return {
        name: own.astype(attempt.dtype) if own.dtype.kind == "f" else own
        for name, own in given.items()
    }


def _given(graph, inputs, attempt):
    """Tensors for the inputs of a conversion, by name."""
    if not attempt.framed:
        numbers = inputs.numbers()
        if attempt.dtype is np.float32:
            numbers = graph.cast(numbers, np.float32)
        return {"X": numbers}
    given = {}
    for j, own in enumerate(inputs.columns):
        tensor = inputs.column(j)
        if own.dtype.kind == "f" and own.dtype != attempt.dtype:
            tensor = graph.cast(tensor, attempt.dtype)
        given[str(own.label)] = tensor
    return given
