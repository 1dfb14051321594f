"""One row of plain numbers: taken as `TensorSchema` takes it, and left to it if anything is odd."""

from typing import Any

import pytest

from serve_app.model.features import Feature
from serve_app.protocols.one_row import OneRow
from serve_app.protocols.v2_types import InputHead

FEATURES = tuple(Feature(name=name, kind="number", minimum=0, maximum=1) for name in "ab")
OTHERS = (
    Feature(name="b", kind="integer", minimum=0, maximum=1),
    Feature(name="b", kind="boolean"),
)


def head(name: str, datatype: str, *shape: int) -> InputHead:
    return InputHead(name, datatype, shape, None, None, [])


@pytest.mark.parametrize(
    ("inputs", "order"),
    [
        ([head("x", "FP64", 1, 2)], (0, 1)),
        ([head("a", "FP32", 1), head("b", "FP16", 1, 1)], (0, 1)),
        ([head("b", "FP32", 1), head("a", "FP64", 1)], (1, 0)),
        ([head("x", "FP64", 2, 1)], None),
        ([head("x", "FP64", 2)], None),
        ([head("x", "INT64", 1, 2)], None),
        ([head("a", "FP64", 1)], None),
        ([head("a", "FP64", 1), head("a", "FP64", 1)], None),
        ([head("a", "FP64", 1), head("b", "FP64", 2)], None),
        ([head("a", "FP64", 1), head("b", "BYTES", 1)], None),
        ([], None),
    ],
)
def test_columns_are_found(inputs: list[InputHead], order: tuple[int, ...] | None) -> None:
    """In one tensor or several; what is no such row is not one."""
    assert OneRow(FEATURES).order(inputs) == order


def test_a_model_of_one_column() -> None:
    """Its column has a name in both forms."""
    one = OneRow(FEATURES[:1])
    assert one.order([head("a", "FP64", 1, 1)]) == (0,)
    assert one.order([head("x", "FP64", 1, 1)]) is None
    assert one.read([[[1]]], (0,)) is None


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other.kind)
def test_other_columns_are_left_alone(other: Feature) -> None:
    """Integers and booleans have checks of their own."""
    assert OneRow((FEATURES[0], other)).order([head("x", "FP64", 1, 2)]) is None


def test_a_row_is_read() -> None:
    """Integers are numbers; flat or nested; columns come in the model's order."""
    assert OneRow.read([[1, 2.5]], (0, 1)).tolist() == [[1.0, 2.5]]  # type: ignore[union-attr]
    assert OneRow.read([[[1, 2.5]]], (0, 1)).tolist() == [[1.0, 2.5]]  # type: ignore[union-attr]
    assert OneRow.read([[1], [2.5]], (1, 0)).tolist() == [[2.5, 1.0]]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "arrays",
    [
        [[1]],
        [[1, 2, 3]],
        [[1], []],
        [[1], [2, 3]],
        [[1, None]],
        [[1, True]],
        [[1, "2"]],
        [[1, [2]]],
        [[[1, 2], [3, 4]]],
        [[[[1, 2]]]],
        [[[1]], [[2]]],
        [[1, float("nan")]],
        [[1, float("inf")]],
        [[1, 1.1e30]],
        [[1, -(10**400)]],
    ],
)
def test_what_is_odd_is_not_read(arrays: list[list[Any]]) -> None:
    """Another number of elements, no number, or one beyond the limits."""
    assert OneRow.read(arrays, (0, 1)) is None
