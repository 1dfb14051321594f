"""One row: taken as `TensorSchema` takes it, and left to it if anything is unusual or wrong."""

from typing import Any

import pytest

from serve_app.model.card import ModelCard
from serve_app.protocols.one_row import OneRow, ReadRow
from serve_app.protocols.schemas import RequestSchema
from serve_app.protocols.v2_types import InputHead
from tests.support.iris_requests import ROW
from tests.support.tables import INSTANCE

NAMES = list(ROW)
DATATYPES = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}


def head(name: str, datatype: str, *shape: int, content_type: str | None = None) -> InputHead:
    return InputHead(name, datatype, shape, content_type, None, [])


def one_row(card: ModelCard) -> OneRow:
    return OneRow(card.features, RequestSchema(card, max_rows=1))


def read(reader: ReadRow | None, arrays: list[list[Any]]) -> Any:
    """The row as a list, or None."""
    assert reader is not None
    rows = reader(arrays)
    return None if rows is None else rows.tolist()


def mixed_heads(**datatypes: str) -> list[InputHead]:
    """A head for each column of a mixed row, of the datatype of its value or another."""
    return [
        head(name, datatypes.get(name, DATATYPES[type(value)]), 1)
        for name, value in INSTANCE.items()
    ]


def mixed_arrays(**values: Any) -> list[list[Any]]:
    return [[value] for value in {**INSTANCE, **values}.values()]


@pytest.mark.parametrize("data", [[1, 2.5, 3, 4], [[1, 2.5, 3, 4]]])
def test_a_row_in_one_tensor(card: ModelCard, data: list[Any]) -> None:
    """Flat or in an array of its own; integers are numbers."""
    reader = one_row(card).reader([head("x", "FP32", 1, 4)])
    assert read(reader, [data]) == [[1.0, 2.5, 3.0, 4.0]]


def test_columns_in_another_order(card: ModelCard) -> None:
    """Each element is its column's; both shapes may be."""
    heads = [head(name, "FP64", *([1] * (1 + place % 2))) for place, name in enumerate(NAMES)]
    reader = one_row(card).reader(heads[::-1])
    assert read(reader, [[4.0], [3.0], [2.0], [1]]) == [[1.0, 2.0, 3.0, 4.0]]


@pytest.mark.parametrize(
    "inputs",
    [
        [head("x", "FP64", 2, 4)],
        [head("x", "FP64", 4)],
        [head("x", "FP64", 1, 3)],
        [head("x", "INT64", 1, 4)],
        [head(name, "FP64", 2) for name in NAMES],
        [head(name, "INT8", 1) for name in NAMES],
        [head(name, "BYTES", 1) for name in NAMES],
        [head(NAMES[0], "FP64", 1)] * 4,
        [*(head(name, "FP64", 1) for name in NAMES), head("x", "FP64", 1)],
    ],
)
def test_other_inputs_have_no_such_row(card: ModelCard, inputs: list[InputHead]) -> None:
    """More rows, other datatypes, columns that are repeated or unknown."""
    assert one_row(card).reader(inputs) is None


@pytest.mark.parametrize(
    "array",
    [
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [1, 2, 3, None],
        [1, 2, 3, True],
        [1, 2, 3, "4"],
        [1, 2, 3, [4]],
        [[1, 2], [3, 4]],
        [[[1, 2, 3, 4]]],
        [1, 2, 3, float("nan")],
        [1, 2, 3, float("inf")],
        [1, 2, 3, 1.1e30],
        [1, 2, 3, -(10**400)],
    ],
)
def test_elements_that_are_odd_make_no_row(card: ModelCard, array: list[Any]) -> None:
    """Another number of them, no number, or one beyond the limits."""
    assert read(one_row(card).reader([head("x", "FP64", 1, 4)]), [array]) is None
    columns = [[value] for value in array]
    if len(array) == len(NAMES):
        reader = one_row(card).reader([head(name, "FP64", 1) for name in NAMES])
        assert read(reader, columns) is None


def test_a_column_with_another_number_of_elements_makes_no_row(card: ModelCard) -> None:
    """None, or two, though there are as many as columns."""
    reader = one_row(card).reader([head(name, "FP64", 1) for name in NAMES])
    assert read(reader, [[], [1, 2], [3], [4]]) is None


def test_columns_of_every_kind(mixed_card: ModelCard) -> None:
    """A row is that of `/predict/`; null is missing, and so is a column left out."""
    schema = RequestSchema(mixed_card, max_rows=1)
    expected = schema.row(INSTANCE)
    assert expected is not None
    reader = one_row(mixed_card).reader(mixed_heads())
    assert read(reader, mixed_arrays()) == expected.tolist()
    without = schema.row({**INSTANCE, "income": None, "plan": None})
    assert without is not None
    assert read(reader, mixed_arrays(income=None, plan=None)) == without.tolist()
    heads = mixed_heads()
    left_out = [place for place, each in enumerate(heads) if each.name not in ("income", "plan")]
    reader = one_row(mixed_card).reader([heads[place] for place in left_out])
    assert read(reader, [mixed_arrays()[place] for place in left_out]) == without.tolist()


@pytest.mark.parametrize(
    "datatypes",
    [{"age": "FP64"}, {"age": "INT8"}, {"member": "INT64"}, {"plan": "FP64"}, {"note": "BOOL"}],
)
def test_a_column_in_another_datatype_has_no_such_row(
    mixed_card: ModelCard, datatypes: dict[str, str]
) -> None:
    """What its elements mean is for `TensorSchema` to say."""
    assert one_row(mixed_card).reader(mixed_heads(**datatypes)) is None


def test_a_column_of_json_texts_has_no_such_row(mixed_card: ModelCard) -> None:
    """Each element has to be parsed first."""
    heads = [each._replace(content_type="pd_json") for each in mixed_heads()]
    assert one_row(mixed_card).reader(heads) is None


@pytest.mark.parametrize(
    "values",
    [
        {"age": 40.0},
        {"age": True},
        {"age": 2**53 + 1},
        {"income": 2**53 + 1},
        {"income": "1"},
        {"income": float("nan")},
        {"member": 1},
        {"note": 5},
        {"region": "unknown"},
        {"region": None},
        {"since": "yesterday"},
    ],
)
def test_values_that_are_odd_make_no_row(mixed_card: ModelCard, values: dict[str, Any]) -> None:
    """Of another type than their datatype has, or refused by the schema."""
    assert read(one_row(mixed_card).reader(mixed_heads()), mixed_arrays(**values)) is None
