"""A model over columns of every kind: what is accepted, refused, flagged and documented."""

import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from serve_app.http.routes import Routes
from serve_app.model.card import ModelCard
from serve_app.model.features import Feature
from serve_app.model.values import LARGEST_VALUE, LONGEST_CATEGORY
from serve_app.protocols.answers import OUT_OF_RANGE_HEADER
from serve_app.protocols.errors import InvalidBodyError
from serve_app.protocols.schemas import RequestSchema
from tests.support.in_process import ask, assert_documented, make_routes, post
from tests.support.iris_requests import BATCH, PREDICT
from tests.support.tables import INSTANCE, MIXED, Model, categories

NAMES = [feature.name for feature in MIXED]
NULLABLE = [feature.name for feature in MIXED if feature.nullable]
MAX_ROWS = 20


@pytest.fixture(scope="module")
def routes(mixed_directory: Path) -> Routes:
    return make_routes(mixed_directory, max_rows=MAX_ROWS)


@pytest.fixture(scope="module")
def document(routes: Routes) -> Any:
    return ask(routes, "GET", "/openapi.json").json()


@pytest.fixture(scope="module")
def schema(mixed_directory: Path) -> RequestSchema:
    card = ModelCard.model_validate_json((mixed_directory / "card.json").read_text())
    return RequestSchema(card, max_rows=MAX_ROWS)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"age": 18, "income": 0},
        {"age": None, "income": None, "plan": None, "since": None},
        {"plan": "enterprise"},
        {"code": 1},
        {"code": 1.0},
        {"note": ""},
        {"note": 'quoted "twice", \\ and \\" too: ü 日本 \U0001f600'},
        {"since": "2024-02-29"},
        {"since": "2024-02-29T12:30:00.123456Z"},
        {"since": "20240229T123000+0530"},
    ],
)
def test_values_of_every_kind_are_answered_as_the_estimator_does(
    mixed: Model, routes: Routes, document: Any, change: dict[str, Any]
) -> None:
    """One row and a batch get the estimator's answer; labels that are booleans stay booleans."""
    instance = {**INSTANCE, **change}
    expected = mixed.task.answers(mixed.predictor.predict(mixed.rows(instance)))[0]
    alone, batch = post(routes, instance), post(routes, {"instances": [INSTANCE, instance]}, BATCH)
    assert_documented(document, "POST", PREDICT, alone)
    assert_documented(document, "POST", BATCH, batch)
    for answer in (alone.json(), batch.json()["predictions"][1]):
        assert mixed.task.problem_with(answer, expected) is None
        assert answer["predicted_class"] in (True, False)
        assert list(answer["probabilities"]) == ["false", "true"]


def test_an_absent_value_is_a_missing_one(routes: Routes) -> None:
    """Where null is allowed the key may be left out, alone and in a batch."""
    absent = {name: value for name, value in INSTANCE.items() if name not in NULLABLE}
    null = {**INSTANCE, **dict.fromkeys(NULLABLE)}
    assert post(routes, absent).body == post(routes, null).body
    batch = post(routes, {"instances": [absent, null, INSTANCE]}, BATCH).json()["predictions"]
    assert batch[0] == batch[1] != batch[2]


@pytest.mark.parametrize(
    ("name", "values", "kind", "message"),
    [
        ("age", [1.0, 1.5], "int_type", "valid integer"),
        ("age", ["1", True, []], "int_type", "valid integer"),
        ("age", [2**53 + 1], "less_than_equal", "9007199254740992"),
        ("income", ["1", True, {}], "float_type", "valid number"),
        ("member", [0, 1, "true", None], "bool_type", "valid boolean"),
        ("plan", [1, True, []], "string_type", "valid string"),
        ("plan", ["x" * (LONGEST_CATEGORY + 1)], "string_too_long", "1000 characters"),
        ("region", ["w", "", 1, None], "literal_error", "should be 'n' or 's'"),
        ("code", [3, 2], "literal_error", "should be 1 or 2.5"),
        ("code", ["1", True, None], "float_type", "valid number"),
        ("note", [1, None, ["a"]], "string_type", "valid string"),
        ("note", ["a\0b"], "string_pattern_mismatch", "pattern"),
        ("since", [1709210000, True], "string_type", "valid string"),
        ("since", ["yesterday", "2024-02-30", ""], "datetime_parsing", "ISO 8601"),
        (
            "since",
            ["1500-01-01", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"],
            "datetime_parsing",
            "the year must be from 1678 to 2261",
        ),
        (
            "since",
            ["2024-01-31T12:00:00.1234567", "2024-01-31T12:00:00,000000001Z"],
            "datetime_parsing",
            "at most 6 digits; round it",
        ),
    ],
)
def test_values_of_another_kind_are_refused(
    routes: Routes, document: Any, *, name: str, values: list[Any], kind: str, message: str
) -> None:
    """One error that names the field, the kind of problem and what would be accepted."""
    for value in values:
        answer = post(routes, {**INSTANCE, name: value})
        assert answer.status == 422, value
        assert_documented(document, "POST", PREDICT, answer)
        (entry,) = answer.detail
        assert (entry["loc"], entry["type"]) == (["body", name], kind), value
        assert message in entry["msg"]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NULLABLE])
def test_a_value_that_must_be_there_is_asked_for(routes: Routes, name: str) -> None:
    """Only columns that may be missing can be left out."""
    answer = post(routes, {key: value for key, value in INSTANCE.items() if key != name})
    (entry,) = answer.detail
    assert (entry["loc"], entry["type"]) == (["body", name], "missing")


def test_a_long_list_of_known_values_is_cut(tmp_path: Path, mixed: Model) -> None:
    """A category of thousands of values does not send all of them with each error."""
    values = categories(*(f"value {number}" for number in range(5000)))
    many = Feature(name="region", kind="category", categories=values, unseen_allowed=False)
    features = [many if feature.name == "region" else feature for feature in MIXED]
    card = mixed.write(tmp_path / "model").card
    card = card.model_copy(update={"features": tuple(features)})
    with pytest.raises(InvalidBodyError) as error:
        RequestSchema(card, max_rows=1).instance(json.dumps(INSTANCE).encode())
    assert "'value 0', 'value 1'" in error.value.errors[0]["msg"]
    assert len(json.dumps(error.value.errors)) < 2_000


@pytest.mark.parametrize(
    ("change", "flagged"),
    [
        ({}, None),
        (dict.fromkeys(NULLABLE), None),
        ({"age": 17}, "age"),
        ({"income": 1e6, "plan": "enterprise"}, "income,plan"),
        ({"since": "2019-12-31T23:59:59"}, "since"),
        ({"since": "2020-01-01T00:00:00"}, None),
        ({"since": "2025-12-31T23:59:59.000001"}, "since"),
        ({"since": "2020-01-01T00:30:00+01:00"}, "since"),
        ({"note": "never said before"}, None),
    ],
)
def test_values_that_training_has_not_seen_are_flagged(
    routes: Routes, change: dict[str, Any], flagged: str | None
) -> None:
    """Numbers and times out of range and unknown categories, in any row; missing is not unseen."""
    instance = {**INSTANCE, **change}
    alone, batch = post(routes, instance), post(routes, {"instances": [INSTANCE, instance]}, BATCH)
    for answer in (alone, batch):
        assert answer.status == 200
        assert answer.headers.get(OUT_OF_RANGE_HEADER.decode()) == flagged


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "age": st.none() | st.integers(-(2**53), 2**53),
    "income": st.none() | st.floats(-LARGEST_VALUE, LARGEST_VALUE) | st.integers(-9, 9),
    "member": st.booleans(),
    "plan": st.none() | st.sampled_from(["basic", "pro"]) | TEXT,
    "region": st.sampled_from(["n", "s"]),
    "code": st.sampled_from([1, 1.0, 2.5]),
    "note": TEXT | st.text('"\\ab'),
    "since": st.none()
    | st.datetimes().map(lambda moment: moment.replace(year=2024, day=1).isoformat()),
}
INSTANCES = st.fixed_dictionaries(
    {name: VALUES[name] for name in NAMES if name not in NULLABLE},
    optional={name: VALUES[name] for name in NULLABLE},
)


@given(instances=st.lists(INSTANCES, min_size=1, max_size=3), data=st.data())
def test_any_valid_row_is_parsed_in_the_cards_order(
    schema: RequestSchema, instances: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Whatever the order of the keys, the spelling of strings and the gaps; nothing is repeated."""
    shuffled = [
        {name: one[name] for name in data.draw(st.permutations(list(one)))} for one in instances
    ]
    ascii_only = data.draw(st.booleans())
    body = json.dumps({"instances": shuffled}, ensure_ascii=ascii_only).encode()
    rows = schema.batch(body)
    assert rows.shape == (len(instances), len(MIXED))
    for row, instance in zip(rows.tolist(), instances, strict=True):
        assert row[NAMES.index("note")] == instance["note"]
        assert row[NAMES.index("plan")] == instance.get("plan")
        assert row[NAMES.index("age")] == instance.get("age")
        body = json.dumps(instance, ensure_ascii=ascii_only).encode()
        assert schema.instance(body).tolist() == [row]


@given(
    instance=INSTANCES,
    name=st.sampled_from(NAMES),
    value=st.one_of(*VALUES.values()) | st.just({"a": [1, '"']}),
    position=st.integers(0, 8),
)
def test_a_repeated_key_is_found_among_any_strings(
    schema: RequestSchema, instance: dict[str, Any], name: str, value: Any, position: int
) -> None:
    """Quotation marks and backslashes in values, absent keys: exactly what is repeated is named."""
    instance = {name: INSTANCE[name], **instance}
    members = [f"{json.dumps(key)}: {json.dumps(one)}" for key, one in instance.items()]
    extra = f"{json.dumps(name)}: {json.dumps(value)}"
    # Before the last one of this name, so that the value that counts is valid.
    place = min(position, list(instance).index(name))
    doubled = "{" + ", ".join([*members[:place], extra, *members[place:]]) + "}"
    once = "{" + ", ".join(members) + "}"
    schema.instance(once.encode())
    bodies = ((doubled, False), (f'{{"instances": [{once}, {doubled}]}}', True))
    for body, batch in bodies:
        with pytest.raises(InvalidBodyError) as error:
            schema.batch(body.encode()) if batch else schema.instance(body.encode())
        assert [(one["type"], one["loc"]) for one in error.value.errors] == [
            ("repeated_key", ["body", name])
        ]


@pytest.mark.parametrize("spelling", ["note", "n\\u006fte"])
def test_a_key_in_another_spelling_is_the_same_key(schema: RequestSchema, spelling: str) -> None:
    """Escapes in a key, and quotation marks that are escapes themselves, mislead nobody."""
    row = json.dumps({**INSTANCE, "note": '"'}).replace('\\"', "\\u0022")
    assert schema.instance(row.encode())[0, NAMES.index("note")] == '"'
    with pytest.raises(InvalidBodyError, match="more than once"):
        schema.instance(row.replace("{", f'{{"{spelling}": "\\"", ', 1).encode())


def test_the_document_shows_kinds_known_values_gaps_and_examples(document: Any) -> None:
    """A client can build a request from the published schema alone."""
    instance = document["components"]["schemas"]["Instance"]
    assert instance["required"] == [name for name in NAMES if name not in NULLABLE]
    fields = instance["properties"]
    assert [field["title"] for field in fields.values()] == NAMES
    assert [option["type"] for option in fields["age"]["anyOf"]] == ["integer", "null"]
    assert "in years; training range 18 to 80" in fields["age"]["description"]
    assert (
        "Written without a decimal point. May be left out or null" in fields["age"]["description"]
    )
    assert fields["member"]["type"] == "boolean"
    assert fields["plan"]["examples"] == ["basic", "pro"]
    assert "2 known values. Another one is answered and flagged" in fields["plan"]["description"]
    assert fields["region"]["enum"] == ["n", "s"]
    assert fields["code"]["enum"] == [1, 2.5]
    assert fields["note"]["description"] == "What the agent wrote."
    assert fields["since"]["anyOf"][0]["format"] == "date-time"
    assert "Training range 2020-01-01 to 2025-12-31" in fields["since"]["description"]
    prediction = document["components"]["schemas"]["Prediction"]["properties"]
    assert prediction["predicted_class"]["enum"] == [False, True]
    schemathesis.openapi.from_dict(document).validate()


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
ALMOST = (
    st.fixed_dictionaries({}, optional={name: VALUES[name] | JSON_VALUES for name in NAMES})
    | INSTANCES
)


@given(body=ALMOST | JSON_VALUES)
def test_accepted_is_what_the_json_schema_accepts(
    schema: RequestSchema, document: Any, body: Any
) -> None:
    """Clients that validate against the published schema and the service never disagree.

    But for what a JSON schema cannot say: 1.0 is no integer, and years end in 2261.
    """
    text = json.dumps(body)
    if "Infinity" in text or "NaN" in text:
        return  # not JSON
    reference = document | {"$ref": "#/components/schemas/Instance"}
    published = Draft202012Validator(reference).is_valid(body)
    try:
        schema.instance(text.encode())
    except InvalidBodyError as error:
        kinds = {entry["type"] for entry in error.errors}
        assert not published or kinds <= {"int_type", "datetime_parsing", "json_invalid"}
    else:
        assert published


@given(path=st.sampled_from([PREDICT, BATCH]), body=ALMOST | JSON_VALUES, batch=st.booleans())
def test_no_body_is_too_much(
    routes: Routes, document: Any, path: str, body: Any, batch: bool
) -> None:
    """Any JSON value, also one that is almost a request, gets a documented answer below 500."""
    answer = post(routes, {"instances": [INSTANCE, body]} if batch else body, path)
    assert answer.status < 500
    assert_documented(document, "POST", path, answer)


@given(text=st.binary(max_size=20), position=st.integers(0, 300), cut=st.integers(0, 30))
def test_no_bytes_are_too_much(
    routes: Routes, document: Any, text: bytes, position: int, cut: int
) -> None:
    """Any bytes in place of a part of a good body get a documented answer below 500."""
    good = json.dumps(INSTANCE).encode()
    answer = ask(routes, "POST", PREDICT, [good[:position] + text + good[position + cut :]])
    assert answer.status < 500
    assert_documented(document, "POST", PREDICT, answer)
