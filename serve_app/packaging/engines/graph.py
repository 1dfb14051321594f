"""An ONNX graph under construction, and the tables of columns that flow through it."""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from serve_app.model.card import Precision
from serve_app.model.features import Feature
from serve_app.model.onnx_predictor import COUNTERS, VOCABULARIES, counts_name
from serve_app.model.text import TermCounter

OPSETS = {"": 20, "ai.onnx.ml": 5}
IR_VERSION = 10
ML = "ai.onnx.ml"
ROWS = "rows"
"""Name of the input with every column but texts."""

_TYPES: dict[Any, int] = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float64): TensorProto.DOUBLE,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.bool_): TensorProto.BOOL,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(object): TensorProto.STRING,
}


class CannotCompileError(Exception):
    """An estimator, or a setting of it, that a route does not know."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph; arithmetic with arrays and other tensors adds nodes."""

    graph: "Graph"
    name: str
    dtype: np.dtype[Any] = field(default=np.dtype(np.float64))

    def op(
        self, kind: str, *others: "Tensor | NDArray[Any] | float", **attributes: Any
    ) -> "Tensor":
        """Result of an operator of this tensor and ``others``, of this tensor's type."""
        return self.graph.op(kind, self, *others, dtype=self.dtype, **attributes)

    def __add__(self, other: Any) -> "Tensor":
        return self.op("Add", other)

    def __sub__(self, other: Any) -> "Tensor":
        return self.op("Sub", other)

    def __mul__(self, other: Any) -> "Tensor":
        return self.op("Mul", other)

    def __truediv__(self, other: Any) -> "Tensor":
        return self.op("Div", other)

    def __matmul__(self, other: Any) -> "Tensor":
        return self.op("MatMul", other)

    def __neg__(self) -> "Tensor":
        return self.op("Neg")

    def equal(self, other: Any) -> "Tensor":
        """Where both are equal."""
        return self._test("Equal", other)

    def above(self, other: Any) -> "Tensor":
        """Where this is greater."""
        return self._test("Greater", other)

    def at_least(self, other: Any) -> "Tensor":
        """Where this is greater or equal."""
        return self._test("GreaterOrEqual", other)

    def is_nan(self) -> "Tensor":
        """Where this is NaN."""
        return self._test("IsNaN")

    def _test(self, kind: str, *others: Any) -> "Tensor":
        return self.graph.op(kind, self, *others, dtype=np.dtype(np.bool_))

    def where(self, chosen: Any, other: Any) -> "Tensor":
        """``chosen`` where this truth value holds, else ``other``; one of them is a tensor."""
        dtype = chosen.dtype if isinstance(chosen, Tensor) else other.dtype
        chosen, other = (self.graph.lift(value, dtype) for value in (chosen, other))
        return self.graph.op("Where", self, chosen, other, dtype=dtype)

    def cast(self, dtype: Any) -> "Tensor":
        """These values in another type."""
        dtype = np.dtype(dtype)
        if dtype == self.dtype:
            return self
        return self.graph.op("Cast", self, dtype=dtype, to=_TYPES[dtype])

    def columns(self, positions: Sequence[int]) -> "Tensor":
        """Some columns, in the given order."""
        return self.op("Gather", np.asarray(positions, np.int64), axis=1)

    def sum(self) -> "Tensor":
        """Sum over the columns, shape [rows, 1]."""
        return self.op("ReduceSum", np.array([1], np.int64), keepdims=1)

    def argmax(self) -> "Tensor":
        """Position of the largest value of each row, the first of equals; shape [rows]."""
        return self.graph.op("ArgMax", self, dtype=np.dtype(np.int64), axis=1, keepdims=0)

    def flat(self) -> "Tensor":
        """One column as a vector."""
        return self.op("Reshape", np.array([-1], np.int64))

    def column(self) -> "Tensor":
        """A vector as one column."""
        return self.op("Reshape", np.array([-1, 1], np.int64))


@dataclass(frozen=True)
class Column:
    """What is known of a column of a table."""

    name: str | None = None
    """Name by which a step may select it."""
    source: int | None = None
    """Position of the feature that it is, its values untouched."""
    feature: int | None = None
    """Position of the feature whose codes it holds; None: it holds numbers."""
    category: bool = False
    """Whether it holds a feature of that kind, untouched."""
    integral: bool = False
    """Whether it holds integers (or NaN) only."""
    is_text: bool = False
    """Whether it is a column of texts, which has no place in the matrix."""


@dataclass(frozen=True)
class Table:
    """Columns of rows: a matrix of double precision, and perhaps text columns beside it."""

    graph: "Graph"
    matrix: Tensor | None
    columns: tuple[Column, ...]
    is_sparse: bool = False
    """Whether the library holds it as a sparse matrix, with nothing where it is zero."""

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.columns)

    def numbers(self, owner: Any) -> Tensor:
        """The matrix, for a step that computes with numbers.

        Raises:
            CannotCompileError: there are strings among the columns.
        """
        if any(column.feature is not None for column in self.columns):
            raise CannotCompileError(f"{type(owner).__name__} over strings")
        return self.values(owner)

    def values(self, owner: Any) -> Tensor:
        """The matrix, strings as codes.

        Raises:
            CannotCompileError: there are text columns, or no columns.
        """
        if self.matrix is None or any(column.is_text for column in self.columns):
            raise CannotCompileError(f"{type(owner).__name__} over text")
        return self.matrix

    def select(self, positions: Sequence[int]) -> "Table":
        """Some columns, in the given order."""
        if list(positions) == list(range(self.width)):
            return self
        places = self._places()
        wanted = [places[position] for position in positions]
        inside = [place for place in wanted if place is not None]
        matrix = None
        if self.matrix is not None and inside:
            whole = inside == [place for place in places if place is not None]
            matrix = self.matrix if whole else self.matrix.columns(inside)
        columns = tuple(self.columns[position] for position in positions)
        return replace(self, matrix=matrix, columns=columns)

    def _places(self) -> list[int | None]:
        """Place of each column in the matrix."""
        count = 0
        places: list[int | None] = []
        for column in self.columns:
            places.append(None if column.is_text else count)
            count += not column.is_text
        return places

    def with_matrix(self, matrix: Tensor, **changes: Any) -> "Table":
        """The same columns with other values."""
        columns = tuple(
            replace(column, source=None, category=False, **changes) for column in self.columns
        )
        return replace(self, matrix=matrix, columns=columns)

    def of_numbers(self, matrix: Tensor, width: int, *, is_sparse: bool = False) -> "Table":
        """A table of new columns without names."""
        return Table(self.graph, matrix, (Column(),) * width, is_sparse)


def joined(tables: Sequence[Table], names: Sequence[str] | None = None) -> Table:
    """Tables side by side."""
    graph = tables[0].graph
    matrices = [table.matrix for table in tables if table.matrix is not None]
    matrix = None
    if matrices:
        matrix = (
            matrices[0] if len(matrices) == 1 else matrices[0].op("Concat", *matrices[1:], axis=1)
        )
    columns = tuple(column for table in tables for column in table.columns)
    if names is not None:
        columns = tuple(
            replace(column, name=name) for column, name in zip(columns, names, strict=True)
        )
    return Table(graph, matrix, columns, any(table.is_sparse for table in tables))


class Graph:
    """Nodes in the order in which they are added; equal nodes are added once."""

    def __init__(self, features: Sequence[Feature], leaf_type: Any = np.float64) -> None:
        """Take the features that the graph's inputs hold.

        Args:
            features: columns of the rows, in the order of the card.
            leaf_type: precision of what skl2onnx emits.
        """
        self.leaf_type = np.dtype(leaf_type)
        self.converted: dict[Any, list[Tensor]] = {}
        """What skl2onnx made of an estimator over a tensor."""
        self.leaves: list[str] = []
        """Names of the estimators that skl2onnx emitted."""
        self.has_trees = False
        self.precision: Precision = "float64"
        """Type of the matrix of rows."""
        self.thresholds: dict[int, list[NDArray[Any]]] = {}
        """Thresholds of trees by the position of the feature that they read untouched."""
        self._features = tuple(features)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, bytes, tuple[int, ...]], onnx.TensorProto] = {}
        self._initializers: list[onnx.TensorProto] = []
        self._known: dict[bytes, str] = {}
        self._opsets = dict(OPSETS)
        self._codes: dict[int, dict[Any, int]] = {
            position: {value: code for code, value in enumerate(feature.values)}
            for position, feature in enumerate(features)
            if feature.kind == "category" and not feature.is_numeric
        }
        self._counters: list[tuple[int, TermCounter]] = []
        self.rows = self._table()
        """The rows that the model gets."""

    def _table(self) -> Table:
        columns = []
        for position, feature in enumerate(self._features):
            if feature.kind == "datetime":
                raise CannotCompileError(f"feature {feature.name!r} is a datetime")
            columns.append(
                Column(
                    name=feature.name,
                    source=position,
                    feature=position if position in self._codes else None,
                    category=feature.kind == "category",
                    integral=feature.kind in ("integer", "boolean") or position in self._codes,
                    is_text=feature.kind == "text",
                )
            )
        rows = Tensor(self, ROWS)
        matrix = [place for place, column in enumerate(columns) if not column.is_text]
        if len(matrix) < len(columns):
            # Texts are not in the matrix: their columns hold zeros.
            return Table(self, rows.columns(matrix) if matrix else None, tuple(columns))
        return Table(self, rows, tuple(columns))

    def counts(self, column: Column, counter: TermCounter) -> Tensor:
        """Counts of the terms of a text column, shape [rows, terms]: an input of the model."""
        if column.source is None:
            raise CannotCompileError("a text that is not a feature")
        entry = (column.source, counter)
        if entry not in self._counters:
            self._counters.append(entry)
        return Tensor(self, counts_name(self._counters.index(entry)))

    def _input_infos(self, used: set[str]) -> list[onnx.ValueInfoProto]:
        kind = TensorProto.FLOAT if self.precision == "float32" else TensorProto.DOUBLE
        infos = [helper.make_tensor_value_info(ROWS, kind, ["n", len(self._features)])]
        infos += [
            helper.make_tensor_value_info(
                counts_name(place), TensorProto.DOUBLE, ["n", len(counter.terms)]
            )
            for place, (_, counter) in enumerate(self._counters)
        ]
        return [info for info in infos if info.name in used]

    def code(self, column: Column, value: Any) -> float:
        """Code of a value in a column of a table; NaN for a missing value, a number as it is."""
        if is_missing(value):
            return math.nan
        if column.feature is None:
            # Not float(value): "1" is no number to the estimator.
            if not isinstance(value, int | float | np.number | np.bool_):
                raise CannotCompileError(
                    f"{value!r} in a column of numbers, {column.name or 'without a name'}"
                )
            return float(value)
        codes = self._codes[column.feature]
        return float(codes.setdefault(plain(value), len(codes)))

    def known_values(self, column: Column) -> list[Any] | None:
        """Values of a column of codes, by code; None for a column of numbers."""
        return None if column.feature is None else list(self._codes[column.feature])

    def lift(self, value: Any, dtype: np.dtype[Any]) -> Tensor:
        """A tensor as it is, an array as a constant; floats in the type ``dtype``."""
        if isinstance(value, Tensor):
            return value
        array = np.asarray(value)
        # Arrays of integers are indices and shapes.
        if isinstance(value, int | float) or array.dtype.kind == "f":
            array = array.astype(dtype)
        return self.constant(array)

    def constant(self, array: NDArray[Any]) -> Tensor:
        """A constant of the graph; equal ones are kept once."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        key = (array.dtype.str, array.tobytes(), array.shape)
        if array.dtype == object:
            key = ("strings", repr(array.tolist()).encode(), array.shape)
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"c{len(self._constants)}")
        return Tensor(self, self._constants[key].name, array.dtype)

    def op(
        self,
        kind: str,
        *inputs: Any,
        dtype: Any = np.float64,
        domain: str = "",
        **attributes: Any,
    ) -> Tensor:
        """Add an operator with one output of type ``dtype``; equal ones are added once."""
        first = next((value for value in inputs if isinstance(value, Tensor)), None)
        lifted = first.dtype if first is not None else np.dtype(np.float64)
        names = [self.lift(value, lifted).name for value in inputs]
        node = helper.make_node(kind, names, [""], domain=domain)
        node.attribute.extend(_attribute(key, value) for key, value in sorted(attributes.items()))
        key = hashlib.sha256(node.SerializeToString(deterministic=True)).digest()
        if key not in self._known:
            node.output[0] = self._known[key] = f"t{len(self._nodes)}"
            self._nodes.append(node)
        return Tensor(self, self._known[key], np.dtype(dtype))

    def merge(
        self, model: onnx.ModelProto, inputs: Sequence[Tensor], dtypes: Sequence[Any]
    ) -> list[Tensor]:
        """Add the nodes of a model of the same operator sets, and return its outputs.

        Args:
            model: is changed.
            inputs: what its inputs are.
            dtypes: types of its outputs.
        """
        if model.functions:
            raise CannotCompileError("a model with functions of its own")
        names = {
            given.name: tensor.name for given, tensor in zip(model.graph.input, inputs, strict=True)
        }
        # Names that skl2onnx makes differ from call to call.
        self._rename(model.graph, names, f"m{len(self._nodes)}_")
        self._nodes.extend(model.graph.node)
        self._initializers.extend(model.graph.initializer)
        self._opsets |= {
            opset.domain: opset.version
            for opset in model.opset_import
            if opset.domain not in OPSETS
        }
        return [
            Tensor(self, names[output.name], np.dtype(dtype))
            for output, dtype in zip(model.graph.output, dtypes, strict=True)
        ]

    def _rename(self, graph: onnx.GraphProto, names: dict[str, str], prefix: str) -> None:
        """Number the names of a graph in the order of its nodes; ``names`` are those of inputs."""
        for place, constant in enumerate(graph.initializer):
            names[constant.name] = constant.name = f"{prefix}c{place}"
        for place, node in enumerate(graph.node):
            node.ClearField("name")
            node.input[:] = [names.get(name, name) for name in node.input]
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    inner = f"{prefix}{place}_"
                    known = dict(names)
                    attribute.g.name = "inner"
                    for index, given in enumerate(attribute.g.input):
                        known[given.name] = given.name = f"{inner}i{index}"
                    self._rename(attribute.g, known, inner)
                    for output in attribute.g.output:
                        output.name = known[output.name]
                    del attribute.g.value_info[:]
            for index, name in enumerate(node.output):
                if name:
                    node.output[index] = names[name] = f"{prefix}{place}o{index}"

    def model(self, outputs: dict[str, Tensor]) -> bytes:
        """The model with the given outputs; equal graphs have equal bytes."""
        ends = [
            helper.make_node("Identity", [tensor.name], [name]) for name, tensor in outputs.items()
        ]
        nodes = _needed([*self._nodes, *ends], outputs)
        if all(_is_cast_to_single(node) for node in nodes if ROWS in node.input):
            # The library rounds all rows: the caller's cast does it as well.
            for node in nodes:
                if ROWS in node.input:
                    node.CopyFrom(helper.make_node("Identity", node.input, node.output))
            self.precision = "float32"
        used = {name for node in nodes for name in _names_read(node)}
        graph = helper.make_graph(
            nodes,
            "model",
            self._input_infos(used),
            [
                helper.make_tensor_value_info(name, _TYPES[tensor.dtype], None)
                for name, tensor in outputs.items()
            ],
            [
                tensor
                for tensor in (*self._constants.values(), *self._initializers)
                if tensor.name in used
            ],
        )
        model = helper.make_model(
            graph,
            producer_name="serve-app",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid(*opset) for opset in sorted(self._opsets.items())],
        )
        facts: dict[str, Any] = {}
        if self._codes:
            facts[VOCABULARIES] = {
                str(position): list(codes) for position, codes in self._codes.items()
            }
        if self._counters:
            facts[COUNTERS] = [
                {"feature": position, "counter": counter.model_dump(mode="json")}
                for position, counter in self._counters
            ]
        helper.set_model_props(model, {name: json.dumps(fact) for name, fact in facts.items()})
        return bytes(model.SerializeToString(deterministic=True))


def _attribute(name: str, value: Any) -> onnx.AttributeProto:
    """An attribute; `onnx.helper` looks at each integer of a list, which takes seconds."""
    if isinstance(value, np.ndarray) and value.dtype == np.int64:
        attribute = onnx.AttributeProto(name=name, type=onnx.AttributeProto.INTS)
        attribute.ints.extend(value.tolist())
        return attribute
    if isinstance(value, np.ndarray):
        value = numpy_helper.from_array(value, name)
    return helper.make_attribute(name, value)


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that outputs depend on."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(_names_read(node))
    return kept[::-1]


def _names_read(node: onnx.NodeProto) -> set[str]:
    names = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names |= _names_read(inner)
    return names


def _is_cast_to_single(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT


def is_missing(value: Any) -> bool:
    """Whether a value of a table stands for none: None, NaN, NaT, pandas.NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def plain(value: Any) -> Any:
    """A NumPy scalar as the Python value that it holds."""
    return value.item() if isinstance(value, np.generic) else value
