"""Rows from tensors: as /predict/ takes the same values, and refused where it refuses them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.model.card import ModelCard, Sample
from serve_app.model.features import Feature
from serve_app.protocols.columns import TensorSchema
from serve_app.protocols.errors import InvalidBodyError
from serve_app.protocols.schemas import RequestSchema
from serve_app.protocols.tensors import Tensor, TensorError, values_of
from tests.support.tables import INSTANCE, MIXED, categories

MAX_ROWS = 5
PLAIN = (
    Feature(name="age", kind="integer", minimum=18, maximum=80, nullable=True),
    Feature(name="income", minimum=0, maximum=9e4, nullable=True),
    Feature(name="height", minimum=0, maximum=3),
    Feature(name="member", kind="boolean"),
    Feature(name="left", kind="boolean", nullable=True),
)
PLAIN_ROW = {"age": 40, "income": 2.5, "height": 1.5, "member": True, "left": False}


def of_features(card: ModelCard, features: Sequence[Feature], row: dict[str, Any]) -> ModelCard:
    sample = Sample(instance=row, answer=card.sample.answer)
    return card.model_copy(update={"features": tuple(features), "sample": sample})


@pytest.fixture(scope="module")
def plain_card(card: ModelCard) -> ModelCard:
    return of_features(card, PLAIN, PLAIN_ROW)


def schemas(card: ModelCard) -> tuple[TensorSchema, RequestSchema]:
    schema = RequestSchema(card, max_rows=MAX_ROWS)
    return TensorSchema(card, schema, max_rows=MAX_ROWS), schema


def tensor(name: str, datatype: str, data: list[Any], shape: Any = None, **more: Any) -> Tensor:
    shape = (len(data), 1) if shape is None else shape
    return Tensor(name, datatype, shape, values_of(data, datatype, shape, name), **more)


def columns(instances: Sequence[dict[str, Any]]) -> list[Tensor]:
    """One tensor for each column, of the datatype that the first value has."""
    datatypes = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}
    found = []
    for name in instances[0]:
        values = [instance[name] for instance in instances]
        types = [type(value) for value in values if value is not None]
        datatype = "FP64" if float in types else datatypes[types[0]] if types else "FP64"
        found.append(tensor(name, datatype, values))
    return found


NUMBERS = st.floats() | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3) | st.none()
ANY_ROW = st.fixed_dictionaries(
    {
        "age": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 99) | st.none(),
        "income": st.floats(width=64) | st.floats(0, 9e4) | st.none(),
        "height": st.floats(0, 3) | st.floats(),
        "member": st.booleans(),
        "left": st.booleans() | st.none(),
    }
)


@given(instances=st.lists(ANY_ROW, min_size=1, max_size=MAX_ROWS + 1))
def test_plain_numbers_have_the_verdict_of_predict(
    plain_card: ModelCard, instances: list[dict[str, Any]]
) -> None:
    """Vectorised checks take what pydantic takes, and make the same rows; NaN is null."""
    tensors, schema = schemas(plain_card)
    as_json = [
        {key: None if value != value else value for key, value in each.items()}  # noqa: PLR0124
        for each in instances
    ]
    try:
        expected = schema.batch(json.dumps({"instances": as_json}).encode())
    except InvalidBodyError:
        with pytest.raises(TensorError):
            tensors.rows(columns(instances))
    else:
        np.testing.assert_array_equal(tensors.rows(columns(instances)), expected)


@given(data=st.data())
def test_one_tensor_has_the_verdict_of_predict(plain_card: ModelCard, data: st.DataObject) -> None:
    """Of numbers alone: whole ones are integers, 0 and 1 are booleans."""
    tensors, schema = schemas(plain_card)
    rows = data.draw(st.lists(st.tuples(*[NUMBERS] * len(PLAIN)), min_size=1, max_size=MAX_ROWS))
    flat = [value for row in rows for value in row]
    one = tensor("x", "FP64", flat, (len(rows), len(PLAIN)))
    instances = []
    for row in rows:
        instance: dict[str, Any] = {}
        for feature, value in zip(PLAIN, row, strict=True):
            number = None if value is None or value != value else float(value)  # noqa: PLR0124
            if number is not None and feature.kind == "integer" and number.is_integer():
                instance[feature.name] = int(number)
            elif feature.kind == "boolean" and number in (0, 1):
                instance[feature.name] = bool(number)
            else:
                instance[feature.name] = number
        instances.append(instance)
    try:
        expected = schema.rows(instances)
    except InvalidBodyError:
        with pytest.raises(TensorError):
            tensors.rows([one])
    else:
        np.testing.assert_array_equal(tensors.rows([one]), expected)


@given(data=st.data())
def test_columns_of_every_kind_are_the_rows_of_predict(
    mixed_card: ModelCard, data: st.DataObject
) -> None:
    """Strings, categories, datetimes and gaps, in any order of the columns."""
    tensors, schema = schemas(mixed_card)
    change = st.fixed_dictionaries(
        {},
        optional={
            "age": st.integers(0, 99) | st.none(),
            "income": st.floats(0, 9e4) | st.none(),
            "member": st.booleans(),
            "plan": st.sampled_from(["basic", "pro", "other", "ü", None]),
            "code": st.sampled_from([1.0, 2.5]),
            "note": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
            "since": st.sampled_from(["2024-02-29", "2024-02-29T12:30:00Z", None]),
        },
    )
    changes = data.draw(st.lists(change, min_size=1, max_size=MAX_ROWS))
    instances = [{**INSTANCE, **each} for each in changes]
    inputs = data.draw(st.permutations(columns(instances)))
    found, expected = tensors.rows(inputs), schema.rows(instances)
    assert found.tolist() == expected.tolist()
    assert found.dtype == expected.dtype


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16", "INT8", "UINT32", "INT64"])
def test_a_tensor_of_any_number_is_a_row(card: ModelCard, datatype: str) -> None:
    """Whole numbers are the same in every datatype; the name of the only tensor is free."""
    tensors, _ = schemas(card)
    one = tensor("input-0", datatype, [1, 2, 3, 4, 5, 6, 7, 8], (2, 4))
    assert tensors.rows([one]).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_a_column_of_a_data_frame_may_be_json(mixed_card: ModelCard) -> None:
    """As MLServer's pandas codec sends a column of several types."""
    tensors, schema = schemas(mixed_card)
    inputs = [
        each
        if each.name != "code"
        else tensor("code", "BYTES", ["1", b"2.5"], content_type="pd_json")
        for each in columns([INSTANCE, INSTANCE])
    ]
    expected = schema.rows([{**INSTANCE, "code": 1}, {**INSTANCE, "code": 2.5}])
    assert tensors.rows(inputs).tolist() == expected.tolist()


def test_a_column_that_is_left_out_is_missing(mixed_card: ModelCard) -> None:
    """Where the model does without it; as a key that is left out of JSON."""
    tensors, schema = schemas(mixed_card)
    inputs = [each for each in columns([INSTANCE, INSTANCE]) if each.name not in ("age", "plan")]
    expected = schema.rows([{**INSTANCE, "age": None, "plan": None}] * 2)
    assert tensors.rows(inputs).tolist() == expected.tolist()


def test_flags_of_categories_survive(card: ModelCard) -> None:
    """A category of booleans takes 0 and 1, one of codes whole numbers of any datatype."""
    features = (
        Feature(name="flag", kind="category", categories=categories(True, False)),
        Feature(name="code", kind="category", categories=categories(5, 7), unseen_allowed=False),
    )
    tensors, schema = schemas(of_features(card, features, {"flag": True, "code": 5}))
    one = tensor("x", "FP32", [1, 5, 0, 7], (2, 2))
    expected = schema.rows([{"flag": True, "code": 5}, {"flag": False, "code": 7}])
    assert tensors.rows([one]).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "inputs: give one tensor of shape [rows, 5], or one of shape [rows] for each"),
        ([tensor("x", "FP64", [1, 2])], "for each of the columns age, income, height"),
        ([tensor("x", "FP64", [1] * 4, (1, 4))], "got ('x', [1, 4])"),
        ([tensor("x", "FP64", [1] * 5, (5,))], "got ('x', [5])"),
        ([tensor("x", "FP64", [], (0, 5))], "x.shape: 1 to 5 rows; got 0"),
        ([tensor("x", "FP64", [1] * 30, (6, 5))], "x.shape: 1 to 5 rows; got 6"),
        ([tensor("age", "FP64", [1]), tensor("age", "FP64", [1])], "given twice; got 'age'"),
        ([tensor("age", "FP64", [1]), tensor("left", "BOOL", [1, 0])], "left.shape: every column"),
        ([tensor("age", "FP64", [1], ())], "age.shape: every column has the shape [rows]"),
        ([tensor("age", "FP64", [1])], "inputs: the column 'height' is missing"),
        ([tensor("x", "FP64", [1, 1, 1, 2, 0], (1, 5))], "member[0]: should be a boolean"),
        ([tensor("x", "FP64", [1.5, 1, 1, 1, 0], (1, 5))], "age[0]: should be an integer of"),
        ([tensor("x", "FP64", [1, 1e31, 1, 1, 0], (1, 5))], "income[0]: should be a number of"),
        ([tensor("x", "FP64", [1, 1, None, 1, 0], (1, 5))], "height[0]: should be given; it must"),
        ([tensor("x", "BOOL", [1, 1, 1, 1, 0], (1, 5))], "x.datatype: 'age' takes numbers"),
        ([tensor("x", "INT64", [2**53 + 1, 1, 1, 1, 0], (1, 5))], "should be an integer of"),
        ([tensor("x", "FP64", [2**53 + 1, 1, 1, 1, 0], (1, 5))], f"up to {2**53}; got {2**53 + 1}"),
        (
            [tensor("age", "FP64", [1], content_type="base64")],
            "age.parameters.content_type: content types are np, pd, str",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    plain_card: ModelCard, inputs: list[Tensor], message: str
) -> None:
    """The tensor or column, the problem and the value."""
    with pytest.raises(TensorError) as error:
        schemas(plain_card)[0].rows(inputs)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"plan": tensor("plan", "INT64", [1])},
            "instances.0.plan: Input should be a valid string",
        ),
        (
            {"age": tensor("age", "BYTES", ["1"])},
            "instances.0.age: Input should be a valid integer",
        ),
        ({"region": tensor("region", "BYTES", ["w"])}, "should be 'n' or 's'; got 'w'"),
        (
            {"member": tensor("member", "FP64", [0.5])},
            "instances.0.member: Input should be a valid",
        ),
    ],
)
def test_what_pydantic_refuses_is_named(
    mixed_card: ModelCard, change: dict[str, Tensor], message: str
) -> None:
    """The row, the column, the problem and the value, in one line."""
    tensors, _ = schemas(mixed_card)
    inputs = [change.get(each.name, each) for each in columns([INSTANCE])]
    with pytest.raises(InvalidBodyError) as error:
        tensors.rows(inputs)
    assert message in error.value.text


def test_a_column_of_numbers_rounds(plain_card: ModelCard) -> None:
    """Integers beyond double precision are numbers, as they are to /predict/."""
    tensors, schema = schemas(plain_card)
    row = {"age": 1, "income": 2**53 + 1, "height": 1.0, "member": True, "left": None}
    inputs = [tensor(name, "FP64", [value]) for name, value in row.items() if name != "member"]
    found = tensors.rows([*inputs, tensor("member", "BOOL", [True])])
    np.testing.assert_array_equal(found, schema.rows([row]))


def test_truth_values_are_no_numbers(mixed_card: ModelCard) -> None:
    """Not beside missing ones either, which make numbers of them."""
    tensors, _ = schemas(mixed_card)
    inputs = [
        tensor("income", "BOOL", [True, None]) if each.name == "income" else each
        for each in columns([INSTANCE, INSTANCE])
    ]
    with pytest.raises(InvalidBodyError) as error:
        tensors.rows(inputs)
    assert "instances.0.income: Input should be a valid number; got True" in error.value.text


def test_text_is_utf_8(mixed_card: ModelCard) -> None:
    """Bytes that are none, and JSON that is none, are refused with their place."""
    tensors, _ = schemas(mixed_card)
    for change in (
        tensor("note", "BYTES", [b"\xff"]),
        tensor("note", "BYTES", ["{"], content_type="pd_json"),
    ):
        inputs = [change if each.name == "note" else each for each in columns([INSTANCE])]
        with pytest.raises(TensorError, match=r"note\[0\]: should be text"):
            tensors.rows(inputs)


def test_the_card_says_what_a_column_is(mixed_card: ModelCard, tmp_path: Path) -> None:
    """Name, datatype and content type of each; and which may be left out."""
    inputs = {each.name: each for each in schemas(mixed_card)[0].inputs}
    assert list(inputs) == [feature.name for feature in MIXED]
    assert {name: each.datatype for name, each in inputs.items()} == {
        "age": "INT64",
        "income": "FP64",
        "member": "BOOL",
        "plan": "BYTES",
        "region": "BYTES",
        "code": "FP64",
        "note": "BYTES",
        "since": "BYTES",
    }
    assert {each.shape for each in inputs.values()} == {(-1, 1)}
    assert inputs["age"].parameters == {"content_type": "np", "optional": True}
    assert inputs["since"].parameters == {"content_type": "datetime", "optional": True}
    assert inputs["note"].parameters == {"content_type": "str"}
