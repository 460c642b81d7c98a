"""A thin builder of ONNX graphs: operators are called, and tensors are names."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

#: Operator sets: that of ONNX, and that of its operators of machine learning.
OPSETS = {"": 18, "ai.onnx.ml": 3}
#: Version of the file format that goes with them.
IR_VERSION = 8
ML = "ai.onnx.ml"


def require_onnx():
    """The package ``onnx``.

    Raises
    ------
    ImportError
        Where it, or what runs and checks graphs, is not installed.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import skl2onnx  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"to_onnx needs the package {error.name!r}, which is not installed; "
            'run pip install "skmoe[onnx]".'
        ) from error
    return onnx


class Graph:
    """Operators in the order in which they run, and constants.

    A tensor is the name of a value, a ``str``; anything else that is given to an
    operator becomes a constant: a float is a double, an integer has 64 bits.

    Parameters
    ----------
    prefix : str, default=""
        Of all names, which are then unlike those of other graphs.

    Examples
    --------
    >>> from skmoe.export.onnx import Graph
    >>> graph = Graph()
    >>> graph.constant(2.0) == graph.constant(2.0)
    True
    """

    def __init__(self, prefix: str = "") -> None:
        self.nodes: list[Any] = []
        self.constants: dict[Any, Any] = {}
        self.domains = {""}
        self._prefix, self._numbers = prefix, itertools.count()
        #: Largest difference of answers that is due to parts in single precision.
        self.tolerance = 0.0

    def fresh(self, what="t"):
        """A name that nothing has yet."""
        return f"{self._prefix}{what}{next(self._numbers)}"

    def constant(self, value):
        """The name of a constant; equal ones are stored once."""
        value = np.asarray(value)
        if value.dtype.kind in "UO":
            value = value.astype(object)
        elif value.dtype.kind in "iu":
            value = value.astype(np.int64)
        return self.fixed(value)

    def fixed(self, value):
        """The name of a constant of any type, as it is."""
        content = repr(value.tolist()) if value.dtype == object else value.tobytes()
        key = str(value.dtype), value.shape, content
        if key not in self.constants:
            self.constants[key] = self.fresh("c"), value
        return self.constants[key][0]

    def _named(self, value):
        return value if isinstance(value, str) else self.constant(value)

    def op(self, kind, *inputs, n_outputs=1, domain="", **attributes):
        """Append an operator; returns the name of its output, or a list of names.

        Parameters
        ----------
        kind : str
            Such as "MatMul".
        *inputs : tensors, numbers or arrays
        n_outputs : int, default=1
        domain : str, default=""
            Of the operator; "ai.onnx.ml" for those of machine learning.
        **attributes
            Of the operator.
        """
        from onnx import helper

        outputs = [self.fresh() for _ in range(n_outputs)]
        names = [self._named(own) for own in inputs]
        self.nodes.append(
            helper.make_node(kind, names, outputs, domain=domain, **attributes)
        )
        self.domains.add(domain)
        return outputs[0] if n_outputs == 1 else outputs

    def cast(self, tensor, dtype):
        """The values as another type of NumPy's; text is ``str``."""
        return self.op("Cast", tensor, to=tensor_type(dtype))

    def double(self, tensor):
        """The values as doubles."""
        return self.cast(tensor, np.float64)

    def cosine(self, tensor):
        """Cosines of doubles, which not all versions of onnxruntime have."""
        return self.op("Sin", self.op("Add", tensor, np.pi / 2))

    def sum(self, tensor, axis=1, keepdims=1):
        """Sums along an axis."""
        return self.op("ReduceSum", tensor, np.array([axis]), keepdims=keepdims)

    def max(self, tensor, axis=1, keepdims=1):
        """Largest values along an axis."""
        return self.op("ReduceMax", tensor, np.array([axis]), keepdims=keepdims)

    def columns(self, tensor, positions):
        """Columns of a matrix, in the order of positions."""
        return self.op("Gather", tensor, np.asarray(positions, dtype=int), axis=1)

    def reshape(self, tensor, *shape):
        """The values in another shape; -1 is what is left, 0 what it was."""
        return self.op("Reshape", tensor, np.array(shape))

    def n_rows(self, tensor):
        """Number of rows, as a tensor of shape (1,)."""
        return self.op("Shape", tensor, start=0, end=1)

    def filled(self, rows_of, width, value=0.0):
        """A matrix of ``width`` columns with one value, and as many rows as another."""
        shape = self.op("Concat", self.n_rows(rows_of), np.array([width]), axis=0)
        return self.op("Expand", np.float64(value), shape)

    def repeated(self, row, rows_of):
        """A matrix (n, m) with the same ``row`` (m,), and as many rows as another."""
        row = np.reshape(np.asarray(row, dtype=float), (1, -1))
        shape = self.op("Concat", self.n_rows(rows_of), np.array([1]), axis=0)
        return self.op("Expand", row, shape)

    def body(self):
        """An empty graph, for a loop, which sees the tensors of this one."""
        inner = Graph(self._prefix)
        inner.constants, inner._numbers = self.constants, self._numbers
        inner.domains = self.domains
        return inner

    def include(self, model, given, output=0):
        """Append what one output of another model needs; returns its name.

        Parameters
        ----------
        model : onnx.ModelProto
        given : dict of str to str
            Tensors for its inputs.
        output : int, default=0
            Position of the output; what others need may not run on no rows.
        """
        from onnx import compose, helper, numpy_helper

        own = compose.add_prefix(model, self.fresh("m") + "_").graph
        for inner, outer in zip(own.input, model.graph.input, strict=True):
            node = helper.make_node("Identity", [given[outer.name]], [inner.name])
            self.nodes.append(node)
        name = own.output[output].name
        nodes = _needed(own.node, name)
        read = {name}.union(*(_read(node) for node in nodes))
        for tensor in own.initializer:
            if tensor.name not in read:
                continue
            self.constants[tensor.name] = tensor.name, numpy_helper.to_array(tensor)
        self.nodes.extend(nodes)
        self.domains.update(own.domain for own in model.opset_import)
        return name

    def model(self, inputs, outputs, metadata=None):
        """The finished model.

        Parameters
        ----------
        inputs : list of (name, dtype, number of columns)
        outputs : list of (name, tensor, dtype, shape behind the rows)
        metadata : dict of str to str, default=None
            What the model says about itself.

        Returns
        -------
        onnx.ModelProto
        """
        from onnx import checker, helper

        ends = [
            helper.make_node("Identity", [tensor], [name])
            for name, tensor, _, _ in outputs
        ]
        graph = helper.make_graph(
            [*self.nodes, *ends],
            "skmoe",
            [_described(name, kind, (width,)) for name, kind, width in inputs],
            [_described(name, kind, shape) for name, _, kind, shape in outputs],
            [stored(*own) for own in self.constants.values()],
        )
        opsets = [
            helper.make_opsetid(d, OPSETS.get(d, 1)) for d in sorted(self.domains)
        ]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=IR_VERSION,
            producer_name="skmoe",
        )
        helper.set_model_props(model, metadata or {})
        checker.check_model(model)
        return model


def _needed(nodes, name):
    """The operators of which a tensor is made, in their order."""
    wanted, kept = {name}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= _read(node)
    return kept[::-1]


def _read(node):
    """Names that an operator reads, those within its bodies too."""
    inner = [own for each in node.attribute for own in each.g.node]
    return set(node.input).union(*(_read(own) for own in inner))


def tensor_type(dtype):
    """Number by which ONNX knows a type of NumPy's."""
    from onnx import TensorProto, helper

    dtype = np.dtype(dtype)
    if dtype.kind in "UO":
        return TensorProto.STRING
    return helper.np_dtype_to_tensor_dtype(dtype)


def _described(name, dtype, shape):
    from onnx import helper

    return helper.make_tensor_value_info(name, tensor_type(dtype), [None, *shape])


def stored(name, value):
    """A constant as ONNX stores it."""
    from onnx import TensorProto, helper, numpy_helper

    if value.dtype == object:
        texts = [
            own if isinstance(own, bytes) else str(own).encode() for own in value.flat
        ]
        return helper.make_tensor(name, TensorProto.STRING, value.shape, texts)
    return numpy_helper.from_array(np.array(value, order="C"), name)
