"""Tables in a graph: what parts read, and what a session is given for a table."""

from __future__ import annotations

import copy
import json
from typing import NamedTuple

import numpy as np

from ..._tables.columns import column_kind, column_numbers, column_text, typed_kind
from ..._tables.frames import as_columns, as_table, column_labels, is_frame
from ..._tables.values import Kind
from ._graph import Graph
from ._registry import refuse

#: Name of the one input of an array.
MATRIX = "X"
#: What stands for a gap among text.
GAP = ""
#: Under which a graph keeps what its columns are.
KEY = "skmoe_columns"


class Column(NamedTuple):
    """One column of a table.

    Attributes
    ----------
    label : its name in a frame, its position in an array
    dtype : type of NumPy's; that of objects for text
    """

    label: object
    dtype: np.dtype

    @property
    def is_text(self):
        """Whether it holds text, or categories."""
        return self.dtype.kind == "O"


def _metadata(source):
    """What is written beside a graph, by keys."""
    try:
        return source.get_modelmeta().custom_metadata_map
    except AttributeError:
        pass
    try:
        return {own.key: own.value for own in source.metadata_props}
    except AttributeError:
        raise TypeError(
            f"onnx_inputs got {type(source).__name__}, but expected a session of "
            "onnxruntime, or what to_onnx returns."
        ) from None


class Layout(NamedTuple):
    """How a graph is given tables that are like a sample.

    Attributes
    ----------
    columns : list of Column
    framed : bool, whether each column is an input of its own
    """

    columns: list
    framed: bool

    @classmethod
    def of(cls, X, dtype=None):
        """That of a sample; ``dtype`` is the one of floats, None for their own."""
        X = as_table(X)
        if np.ndim(X) != 2 and not is_frame(X):
            refuse(
                f"for X_sample of shape {np.shape(X)}",
                "expected rows of a table",
                "give some rows of the table that the model was fitted to",
            )
        pairs = zip(column_labels(X), as_columns(X), strict=True)
        columns = [Column(name, _dtype(own, dtype)) for name, own in pairs]
        if not is_frame(X) and not any(own.is_text for own in columns):
            kind = _dtype(np.asarray(X).ravel(), dtype)
            kind = kind if kind.kind == "f" else np.dtype(float)
            columns = [own._replace(dtype=kind) for own in columns]
        return cls(columns, is_frame(X))

    @classmethod
    def of_session(cls, session):
        """That which an exported graph, or a session of one, asks for.

        Raises ``ValueError`` for a graph that skmoe has not written, ``TypeError`` for
        what is neither.
        """
        known = _metadata(session).get(KEY)
        if known is None:
            raise ValueError(
                "onnx_inputs got a session without a description of its columns, but "
                "expected one of a graph that skmoe.export.to_onnx has written; give "
                "the session its arrays by the names of its inputs."
            )
        known = json.loads(known)
        columns = [Column(name, np.dtype(kind)) for name, kind in known["columns"]]
        return cls(columns, known["framed"])

    def described_by_words(self):
        """What ``of_session`` reads, as text that a graph keeps."""
        kinds = ["O" if own.is_text else own.dtype.str for own in self.columns]
        names = [str(own.label) for own in self.columns]
        columns = [list(own) for own in zip(names, kinds, strict=True)]
        return {KEY: json.dumps({"framed": self.framed, "columns": columns})}

    @property
    def matrix_dtype(self):
        """Type of the one input: text if some column is."""
        if any(own.is_text for own in self.columns):
            return np.dtype(object)
        return self.columns[0].dtype

    def described(self):
        """Name, type and number of columns of each input."""
        if not self.framed:
            return [(MATRIX, self.matrix_dtype, len(self.columns))]
        return [(str(own.label), own.dtype, 1) for own in self.columns]

    def inputs(self, graph):
        """The ``Inputs`` of a graph."""
        if self.framed:
            tensors = [str(own.label) for own in self.columns]
            return Frame(graph, self.columns, tensors)
        kind = Matrix if self.matrix_dtype.kind == "f" else TextMatrix
        return kind(graph, self.columns, MATRIX)

    def given(self, X):
        """What a session is given for a table: arrays by the names of inputs."""
        X = as_table(X)
        if not self.framed and self.matrix_dtype.kind == "f":
            return {MATRIX: np.asarray(X, dtype=self.matrix_dtype)}
        pairs = zip(self.columns, self._columns_of(X), strict=True)
        found = [_values(column, own, self.framed) for column, own in pairs]
        if self.framed:
            named = zip(self.columns, found, strict=True)
            return {str(column.label): own[:, None] for column, own in named}
        return {MATRIX: np.column_stack(found).astype(object)}

    def _columns_of(self, X):
        """Columns of a table, by their names if it has some."""
        if not self.framed or not is_frame(X):
            return as_columns(X)
        places = {str(name): j for j, name in enumerate(column_labels(X))}
        missing = [own.label for own in self.columns if str(own.label) not in places]
        if missing:
            raise ValueError(
                f"onnx_inputs got a table without the columns {missing}, but expected "
                "all of those of X_sample."
            )
        columns = as_columns(X)
        return [columns[places[str(own.label)]] for own in self.columns]


def _dtype(column, dtype):
    """Type of an input for the values of a column."""
    own = getattr(column, "dtype", np.dtype(object))
    kind = getattr(own, "kind", "O")
    if isinstance(own, np.dtype) and kind in "iub":
        return np.dtype(bool) if kind == "b" else np.dtype(np.int64)
    if column_kind(column) == Kind.TEXT:
        return np.dtype(object)
    if typed_kind(column) not in (None, Kind.NUMBERS):
        # In single precision a second would be lost.
        return np.dtype(np.float64)
    single = own == np.dtype(np.float32)
    return np.dtype(dtype or (np.float32 if single else np.float64))


def _values(column, own, framed):
    """Values of a column as its input takes them."""
    if column.is_text:
        return np.array([GAP if v is None else v for v in column_text(own)], object)
    values = column_numbers(own)
    if framed:
        return values.astype(column.dtype)
    return np.array([repr(float(value)) for value in values], dtype=object)


class Inputs:
    """What a part sees of the rows, in a graph.

    Parameters
    ----------
    graph : Graph
    columns : list of Column

    Attributes
    ----------
    n_columns : int
    sample : what the part itself sees of the rows by which answers are compared
    curves : CurveEncoding by which an additive part sees places on curves, or None
    """

    sample = curves = None

    def __init__(self, graph: Graph, columns: list[Column]) -> None:
        self.graph, self.columns = graph, columns
        self._numbers = None

    def copied(self):
        """The same tensors, for another part."""
        return copy.copy(self)

    def taken(self, rows):
        """The inputs of some rows, by a tensor (m,) of their numbers."""
        own = self.take(rows)
        own.sample, own.curves = self.sample, self.curves
        return own

    def with_values(self, flat):
        """The inputs with the values of some ``FlatColumns``."""
        mask = np.zeros(self.n_columns, dtype=bool)
        mask[flat.columns] = True
        values = np.zeros(self.n_columns)
        values[flat.columns] = flat.values
        tensor = self.graph.op("Where", mask, values, self.numbers())
        return Matrix.of(self.graph, tensor, self.n_columns)

    @property
    def n_columns(self):
        """Number of columns."""
        return len(self.columns)

    def numbers(self):
        """All columns as doubles, the tensor (n, p)."""
        if self._numbers is None:
            self._numbers = self._doubles()
        return self._numbers

    def positions(self, labels):
        """Positions of columns by their labels, or by positions in a frame."""
        known = [own.label for own in self.columns]
        return [known.index(own) if own in known else own for own in labels]

    def column(self, j):
        """One column in its own type, the tensor (n, 1)."""
        raise NotImplementedError

    def number(self, j):
        """One column as doubles, the tensor (n, 1)."""
        raise NotImplementedError

    def text(self, j):
        """One column of text, the tensor (n, 1); refused where the sample has none."""
        if not self.columns[j].is_text:
            self._refuse("text", [self.columns[j].label], "numbers, or nothing")
        return self.column(j)

    def refuse_text(self, positions):
        """Refuse columns to be read as numbers that hold text in the sample."""
        own = [self.columns[j] for j in positions]
        text = [str(one.label) for one in own if one.is_text]
        if text:
            self._refuse("numbers", text, "text")

    @staticmethod
    def _refuse(wanted, labels, found):
        refuse(
            f"a part that reads {wanted} from the columns {labels}",
            f"they hold {found} in X_sample",
            "give rows as they were in training, with values in all columns",
        )

    def take(self, rows):
        """The tensors of some rows."""
        raise NotImplementedError

    def select(self, positions):
        """Some of the columns."""
        raise NotImplementedError

    def any_tensor(self):
        """A tensor with as many rows."""
        raise NotImplementedError

    def _doubles(self):
        raise NotImplementedError


class Matrix(Inputs):
    """Columns of one type in one tensor.

    Parameters
    ----------
    graph : Graph
    columns : list of Column
    tensor : str
    """

    def __init__(self, graph, columns, tensor):
        super().__init__(graph, columns)
        self.tensor, self._columns = tensor, {}

    @classmethod
    def of(cls, graph, tensor, n_columns, dtype=np.float64):
        """Of a tensor that operators have made."""
        columns = [Column(j, np.dtype(dtype)) for j in range(n_columns)]
        return cls(graph, columns, tensor)

    def any_tensor(self):
        return self.tensor

    def column(self, j):
        if j not in self._columns:
            self._columns[j] = self.graph.columns(self.tensor, [j])
        return self._columns[j]

    def number(self, j):
        return self.graph.columns(self.numbers(), [j])

    def take(self, rows):
        tensor = self.graph.op("Gather", self.tensor, rows, axis=0)
        return type(self)(self.graph, self.columns, tensor)

    def select(self, positions):
        columns = [self.columns[j] for j in positions]
        if [*positions] == [*range(self.n_columns)]:
            return self
        tensor = self.graph.columns(self.tensor, positions)
        return type(self)(self.graph, columns, tensor)

    def _doubles(self):
        if self.columns and self.columns[0].dtype == np.float64:
            return self.tensor
        return self.graph.double(self.tensor)


class TextMatrix(Matrix):
    """Columns of text and of numbers in one tensor of text."""

    def number(self, j):
        self.refuse_text([j])
        return self.graph.double(self.column(j))

    def _doubles(self):
        self.refuse_text(range(self.n_columns))
        return self.graph.double(self.tensor)


class Frame(Inputs):
    """Columns in a tensor each.

    Parameters
    ----------
    graph : Graph
    columns : list of Column
    tensors : list of str
    """

    def __init__(self, graph, columns, tensors):
        super().__init__(graph, columns)
        self.tensors, self._known = tensors, {}

    def any_tensor(self):
        return self.tensors[0]

    def column(self, j):
        return self.tensors[j]

    def number(self, j):
        self.refuse_text([j])
        if self.columns[j].dtype == np.float64:
            return self.tensors[j]
        if j not in self._known:
            self._known[j] = self.graph.double(self.tensors[j])
        return self._known[j]

    def take(self, rows):
        gather = self.graph.op
        tensors = [gather("Gather", own, rows, axis=0) for own in self.tensors]
        return Frame(self.graph, self.columns, tensors)

    def with_values(self, flat):
        tensors = list(self.tensors)
        for j, value in zip(flat.columns.tolist(), flat.values, strict=True):
            own = np.full((1, 1), value).astype(self.columns[j].dtype)
            rows = self.graph.op("Shape", tensors[j])
            tensors[j] = self.graph.op("Expand", self.graph.fixed(own), rows)
        return Frame(self.graph, self.columns, tensors)

    def select(self, positions):
        columns = [self.columns[j] for j in positions]
        return Frame(self.graph, columns, [self.tensors[j] for j in positions])

    def _doubles(self):
        self.refuse_text(range(self.n_columns))
        each = [self.number(j) for j in range(self.n_columns)]
        return self.graph.op("Concat", *each, axis=1) if len(each) > 1 else each[0]
