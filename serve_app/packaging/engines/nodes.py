"""Nodes of ONNX graphs."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSETS = {"": 20, "ai.onnx.ml": 5}
IR_VERSION = 10
ML = "ai.onnx.ml"

TYPES: dict[Any, int] = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float64): TensorProto.DOUBLE,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.bool_): TensorProto.BOOL,
    np.dtype(np.uint8): TensorProto.UINT8,
}
"""Types of tensors by those of arrays."""


def attribute(name: str, value: Any) -> onnx.AttributeProto:
    """An attribute; `onnx.helper` looks at each integer of a list, which takes seconds."""
    if isinstance(value, np.ndarray) and value.dtype == np.int64:
        integers = onnx.AttributeProto(name=name, type=onnx.AttributeProto.INTS)
        integers.ints.extend(value.tolist())
        return integers
    if isinstance(value, np.ndarray):
        value = numpy_helper.from_array(value, name)
    return helper.make_attribute(name, value)


def needed(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that outputs depend on."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def is_cast_to_single(node: onnx.NodeProto) -> bool:
    """Whether a node rounds to single precision and does nothing else."""
    return node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT
