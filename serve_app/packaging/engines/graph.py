"""An ONNX graph under construction: tensors, and the operators that make them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from serve_app.model.card import Precision
from serve_app.model.features import Feature
from serve_app.model.onnx_inputs import COUNTERS, UNREAD, VOCABULARIES, counts_name
from serve_app.model.text import TermCounter
from serve_app.packaging.engines.nodes import (
    IR_VERSION,
    OPSETS,
    TYPES,
    attribute,
    is_cast_to_single,
    needed,
)
from serve_app.packaging.engines.values import plain

ROWS = "rows"
"""Name of the input with every column but texts."""


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
        return self.graph.op("Cast", self, dtype=dtype, to=TYPES[dtype])

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


class Graph:
    """Nodes in the order in which they are added; equal nodes are added once."""

    def __init__(self, features: Sequence[Feature]) -> None:
        """Take the columns of the rows, in the order of the card."""
        self.features = tuple(features)
        self.has_trees = False
        self.precision: Precision = "float64"
        """Type of the matrix of rows."""
        self.thresholds: dict[int, list[NDArray[Any]]] = {}
        """Thresholds of trees by the position of the feature that they read untouched."""
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, bytes, tuple[int, ...]], onnx.TensorProto] = {}
        self._known: dict[bytes, str] = {}
        self._codes: dict[int, dict[Any, int]] = {
            position: {value: code for code, value in enumerate(feature.values)}
            for position, feature in enumerate(features)
            if feature.kind == "category" and not feature.is_numeric
        }
        self._counters: list[tuple[int, TermCounter]] = []
        self.rows = Tensor(self, ROWS)
        """The input with every column but texts and datetimes, strings as codes; shape [rows,
        features]."""

    def counts(self, position: int | None, counter: TermCounter) -> Tensor:
        """Counts of the terms of a text feature, shape [rows, terms]: an input of the model."""
        if position is None:
            raise CannotCompileError("a text that is not a feature")
        entry = (position, counter)
        if entry not in self._counters:
            self._counters.append(entry)
        return Tensor(self, counts_name(self._counters.index(entry)))

    def _input_infos(self, used: set[str]) -> list[onnx.ValueInfoProto]:
        kind = TensorProto.FLOAT if self.precision == "float32" else TensorProto.DOUBLE
        infos = [helper.make_tensor_value_info(ROWS, kind, ["n", len(self.features)])]
        infos += [
            helper.make_tensor_value_info(
                counts_name(place), TensorProto.DOUBLE, ["n", len(counter.terms)]
            )
            for place, (_, counter) in enumerate(self._counters)
        ]
        return [info for info in infos if info.name in used]

    def has_codes(self, position: int) -> bool:
        """Whether the rows hold codes of a feature's values."""
        return position in self._codes

    def code(self, position: int, value: Any) -> float:
        """Code of a value of a feature; a value that no request has had gets one as well."""
        codes = self._codes[position]
        return float(codes.setdefault(plain(value), len(codes)))

    def coded_values(self, position: int) -> list[Any]:
        """Values of a feature by code."""
        return list(self._codes[position])

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
        node.attribute.extend(attribute(key, value) for key, value in sorted(attributes.items()))
        key = hashlib.sha256(node.SerializeToString(deterministic=True)).digest()
        if key not in self._known:
            node.output[0] = self._known[key] = f"t{len(self._nodes)}"
            self._nodes.append(node)
        return Tensor(self, self._known[key], np.dtype(dtype))

    def model(self, outputs: dict[str, Tensor]) -> bytes:
        """The model with the given outputs; equal graphs have equal bytes."""
        ends = [
            helper.make_node("Identity", [tensor.name], [name]) for name, tensor in outputs.items()
        ]
        nodes = needed([*self._nodes, *ends], outputs)
        if all(is_cast_to_single(node) for node in nodes if ROWS in node.input):
            # The library rounds all rows: the caller's cast does it as well.
            for node in nodes:
                if ROWS in node.input:
                    node.CopyFrom(helper.make_node("Identity", node.input, node.output))
            self.precision = "float32"
        used = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            nodes,
            "model",
            self._input_infos(used),
            [
                helper.make_tensor_value_info(name, TYPES[tensor.dtype], None)
                for name, tensor in outputs.items()
            ],
            [tensor for tensor in self._constants.values() if tensor.name in used],
        )
        model = helper.make_model(
            graph,
            producer_name="serve-app",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid(*opset) for opset in sorted(OPSETS.items())],
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
        counted = {position for position, _ in self._counters}
        unread = [
            position
            for position, feature in enumerate(self.features)
            if feature.kind in ("text", "datetime") and position not in counted
        ]
        if unread:
            facts[UNREAD] = unread
        helper.set_model_props(model, {name: json.dumps(fact) for name, fact in facts.items()})
        return bytes(model.SerializeToString(deterministic=True))
