"""Bodies are validated in bulk against the card, and every error says where and why."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from serve_app.model.card import ModelCard, Sample
from serve_app.model.features import Feature
from serve_app.model.values import LARGEST_VALUE
from serve_app.protocols.errors import MAX_REPORTED_ERRORS, InvalidBodyError
from serve_app.protocols.schemas import RequestSchema

ROW = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
MAX_ROWS = 5
VALUES = st.floats(-LARGEST_VALUE, LARGEST_VALUE) | st.integers(-(10**30), 10**30)
INSTANCES = st.fixed_dictionaries(dict.fromkeys(ROW, VALUES))


@pytest.fixture(scope="module")
def schema(card: ModelCard) -> RequestSchema:
    return RequestSchema(card, max_rows=MAX_ROWS)


def errors_of(schema: RequestSchema, body: bytes, *, batch: bool = False) -> InvalidBodyError:
    with pytest.raises(InvalidBodyError) as error:
        schema.batch(body) if batch else schema.instance(body)
    return error.value


def replaced(text: str) -> bytes:
    """A row whose first value is spelled ``text``."""
    return json.dumps({**ROW, "sepal_length": "?"}).replace('"?"', text).encode()


@given(instances=st.lists(INSTANCES, min_size=1, max_size=MAX_ROWS), data=st.data())
def test_rows_are_in_the_cards_order(
    schema: RequestSchema, instances: list[dict[str, float]], data: st.DataObject
) -> None:
    """Columns have the card's order for any order of the keys, alone and in a batch."""
    shuffled = [
        {name: instance[name] for name in data.draw(st.permutations(list(ROW)))}
        for instance in instances
    ]
    expected = [[float(instance[name]) for name in ROW] for instance in instances]
    batch = schema.batch(json.dumps({"instances": shuffled}).encode())
    assert batch.tolist() == expected
    assert batch.dtype == float
    alone = [schema.instance(json.dumps(instance).encode()) for instance in shuffled]
    assert [one.tolist() for one in alone] == [[row] for row in expected]


@pytest.mark.parametrize(
    ("text", "kind", "echo"),
    [
        ('"5.1"', "float_type", "5.1"),
        ("true", "float_type", True),
        ("null", "float_type", None),
        ("[5.1]", "float_type", "an array of 1 values"),
        ('{"a": 1}', "float_type", "an object of 1 fields"),
        ("NaN", "finite_number", "nan"),
        ("Infinity", "finite_number", "inf"),
        ("-Infinity", "finite_number", "-inf"),
        ("1e400", "finite_number", "inf"),
        ("1e31", "less_than_equal", 1e31),
        ("-1e31", "greater_than_equal", -1e31),
        ("1" + "0" * 40, "less_than_equal", "1" + "0" * 40),
        ("1" * 400, "float_type", "1" * 100 + "... (400 characters)"),
    ],
)
def test_a_bad_value_is_named_with_its_field(
    schema: RequestSchema, text: str, kind: str, echo: object
) -> None:
    """One error, with the field's place, the kind of problem and the value, cut to be short."""
    error = errors_of(schema, replaced(text))
    assert error.status == 422
    (entry,) = error.errors
    assert entry["loc"] == ["body", "sepal_length"]
    assert entry["type"] == kind
    assert entry["input"] == echo
    assert entry["msg"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{'sepal_length': 1}",
        b'{"sepal_length": 1}{}',
        b'{"sepal_length": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"\\ud800": 1}',
        replaced("[" * 1000 + "]" * 1000),
        replaced("1" * 5000),
    ],
)
def test_what_is_not_json_is_400(schema: RequestSchema, body: bytes) -> None:
    """Broken, empty, undecodable, absurdly deep or long: not JSON, with the position."""
    for batch in (False, True):
        error = errors_of(schema, body, batch=batch)
        assert error.status == 400
        (entry,) = error.errors
        assert entry["loc"] == ["body"]
        assert entry["msg"].startswith("Invalid JSON: ")
        assert "line 1 column" in entry["msg"]


@pytest.mark.parametrize(
    ("body", "locations"),
    [
        ({}, [["body", name] for name in ROW]),
        ({**ROW, "colour": 1}, [["body", "colour"]]),
        ({**ROW, "k" * 1000: 1}, [["body", "k" * 100 + "... (1000 characters)"]]),
        ([ROW], [["body"]]),
        (5, [["body"]]),
        ({"instances": [ROW]}, [*(["body", name] for name in ROW), ["body", "instances"]]),
    ],
)
def test_all_problems_of_a_row_are_listed(
    schema: RequestSchema, body: Any, locations: list[list[str]]
) -> None:
    """Missing and unknown fields are named, all of them at once."""
    error = errors_of(schema, json.dumps(body).encode())
    assert error.status == 422
    assert [entry["loc"] for entry in error.errors] == locations


@pytest.mark.parametrize(
    ("body", "location", "kind"),
    [
        ({}, ["body", "instances"], "missing"),
        ({"instances": []}, ["body", "instances"], "too_short"),
        ({"instances": [ROW] * (MAX_ROWS + 1)}, ["body", "instances"], "too_long"),
        ({"instances": ROW}, ["body", "instances"], "list_type"),
        ({"instances": [ROW], "x": 1}, ["body", "x"], "extra_forbidden"),
        ({"instances": [ROW, 5]}, ["body", "instances", 1], "dict_type"),
        (
            {"instances": [ROW, {**ROW, "petal_width": "x"}]},
            ["body", "instances", 1, "petal_width"],
            "float_type",
        ),
    ],
)
def test_a_problem_in_a_batch_is_named_with_its_row(
    schema: RequestSchema, body: Any, location: list[str | int], kind: str
) -> None:
    """The place of an error in a batch includes the row's position."""
    (entry,) = errors_of(schema, json.dumps(body).encode(), batch=True).errors
    assert (entry["loc"], entry["type"]) == (location, kind)


@pytest.mark.parametrize(
    ("body", "batch", "message"),
    [
        ([ROW], True, 'an object: rows go into {"instances": [...]}'),
        ([ROW], False, 'several rows go into {"instances": [...]} to /predict/batch/'),
        ({"rows": [ROW], "instances": [ROW]}, True, 'rows go into {"instances": [...]}'),
        ({**ROW, "sepal": 1}, False, "the columns are sepal_length, sepal_width, petal_length, p"),
        ({"instances": [{**ROW, "sepal": 1}]}, True, "the columns are sepal_length, sepal_width,"),
    ],
)
def test_what_to_send_instead_is_said(
    schema: RequestSchema, body: Any, *, batch: bool, message: str
) -> None:
    """For a bare array, and for keys that are none."""
    (entry,) = errors_of(schema, json.dumps(body).encode(), batch=batch).errors
    assert message in entry["msg"]


def test_a_long_list_of_columns_is_cut(card: ModelCard) -> None:
    """It says how many more there are."""
    features = [Feature(name=f"column_{n}", minimum=0, maximum=1) for n in range(300)]
    row: dict[str, Any] = {each.name: 0 for each in features}
    update = {"features": tuple(features), "sample": Sample(instance=row, answer={})}
    schema = RequestSchema(card.model_copy(update=update), max_rows=1)
    (entry,) = errors_of(schema, json.dumps({**row, "colunm_7": 1}).encode()).errors
    assert "column_0, column_1, " in entry["msg"]
    assert entry["msg"].endswith(" more")
    assert len(entry["msg"]) < 500


def test_the_list_of_errors_is_short(schema: RequestSchema) -> None:
    """A body that is wrong in thousands of places is not answered with thousands of errors."""
    error = errors_of(schema, json.dumps({f"x{i}": 0 for i in range(1000)}).encode())
    assert len(error.errors) == MAX_REPORTED_ERRORS + 1
    assert error.errors[-1]["msg"] == "984 more errors are not listed"


@pytest.mark.parametrize("value", ["5.1", "6", '"text"', "1e400", "[[]]"])
@pytest.mark.parametrize("spelling", ["sepal_length", "sepal\\u005flength"])
def test_a_repeated_key_is_refused(schema: RequestSchema, value: str, spelling: str) -> None:
    """JSON parsers keep the last of equal keys; the client may have meant another."""
    row = json.dumps(ROW)
    doubled = row.replace("{", f'{{"{spelling}": {value}, ', 1)
    for body, batch in ((doubled, False), (f'{{"instances": [{row}, {doubled}]}}', True)):
        error = errors_of(schema, body.encode(), batch=batch)
        assert error.status == 422
        (entry,) = error.errors
        assert (entry["loc"], entry["type"]) == (["body", "sepal_length"], "repeated_key")


def test_repeated_instances_are_refused(schema: RequestSchema) -> None:
    """Two lists of rows in one body are as ambiguous as two values of one field."""
    rows = json.dumps([ROW])
    body = f'{{"instances": {rows}, "instances": {rows}}}'.encode()
    (entry,) = errors_of(schema, body, batch=True).errors
    assert entry["loc"] == ["body", "instances"]


def test_a_body_full_of_repeated_keys_is_no_attack(card: ModelCard) -> None:
    """Keys are counted in one pass: comparing each to all would outlast the tests' time limit."""
    feature = Feature(name="x", minimum=0, maximum=1)
    sample = card.sample.model_copy(update={"instance": {"x": 0.5}})
    narrow = RequestSchema(
        card.model_copy(update={"features": (feature,), "sample": sample}), max_rows=1
    )
    (entry,) = errors_of(narrow, b'{"x":1' + b',"x":1' * 170_000 + b"}").errors
    assert entry["loc"] == ["body", "x"]


def test_a_long_repeated_key_is_cut(schema: RequestSchema) -> None:
    """A client's own key is not sent back to it by the megabyte."""
    key = "k" * 100_000
    body = json.dumps({**ROW, "sepal_length": "?"}).replace('"?"', f'{{"{key}":1,"{key}":2}}')
    valid = json.dumps(ROW)[:-1] + f', "sepal_length": 1, "{key}": 1, "{key}": 2}}'
    for text in (body, valid):
        error = errors_of(schema, text.encode())
        assert len(json.dumps(error.errors)) < 2_000


def test_a_body_that_is_wrong_everywhere_costs_no_more_than_parsing_it(card: ModelCard) -> None:
    """Each error names the body it is about; copying it into each would outlast the time limit."""
    names = [f"feature_{position}" for position in range(300)]
    features = tuple(Feature(name=name, minimum=0, maximum=1) for name in names)
    sample = card.sample.model_copy(update={"instance": dict.fromkeys(names, 0.5)})
    wide = RequestSchema(
        card.model_copy(update={"features": features, "sample": sample}), max_rows=1
    )
    body = b'{"a":[' + b",".join([b'{"":[]}'] * 130_000) + b"]}"
    error = errors_of(wide, body)
    assert len(error.errors) == MAX_REPORTED_ERRORS + 1
    assert len(json.dumps(error.errors)) < 10_000


def test_the_json_schemas_say_what_a_value_is(card: ModelCard, schema: RequestSchema) -> None:
    """Unit, training range, limits and an example are in the schema of each field."""
    instance, batch = schema.json_schemas()
    assert list(instance["properties"]) == list(ROW)
    assert instance["required"] == list(ROW)
    assert instance["additionalProperties"] is False
    field = instance["properties"]["sepal_length"]
    assert "in cm; training range 4.3 to 7.9" in field["description"]
    assert (field["type"], field["minimum"], field["maximum"]) == ("number", -1e30, 1e30)
    assert batch["properties"]["instances"]["maxItems"] == MAX_ROWS


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(
    body=st.fixed_dictionaries({}, optional=dict.fromkeys(ROW, VALUES | JSON_VALUES))
    | st.fixed_dictionaries(dict.fromkeys(ROW, VALUES | JSON_VALUES))
    | JSON_VALUES
)
def test_accepted_is_what_the_json_schema_accepts(schema: RequestSchema, body: Any) -> None:
    """Clients that validate against the published schema and the service never disagree."""
    text = json.dumps(body)
    if "Infinity" in text:
        return  # not JSON
    published = Draft202012Validator(schema.json_schemas().instance).is_valid(body)
    try:
        rows = schema.instance(text.encode())
    except InvalidBodyError:
        assert not published
    else:
        assert published
        assert all(math.isfinite(value) for value in rows[0])


def test_column_names_need_not_be_identifiers(card: ModelCard) -> None:
    """Names with spaces, brackets, umlauts or Python keywords are fields like others."""
    names = ("mean radius (mm)", "class", "größe", "a'b", "{}", "日本")
    features = tuple(Feature(name=name, minimum=0, maximum=1) for name in names)
    sample = card.sample.model_copy(update={"instance": dict.fromkeys(names, 0.5)})
    other = RequestSchema(
        card.model_copy(update={"features": features, "sample": sample}), max_rows=1
    )
    for ensure_ascii in (True, False):
        body = json.dumps(dict.fromkeys(names, 0.5), ensure_ascii=ensure_ascii).encode()
        assert other.instance(body).tolist() == [[0.5] * len(names)]
    assert errors_of(other, b"{}").errors[2]["loc"] == ["body", "größe"]
