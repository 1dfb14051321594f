"""Features with a value that training has not seen are named, whatever else the request has."""

import json
from typing import Any

import pytest

from serve_app.model.card import ModelCard, Sample
from serve_app.model.features import Feature
from serve_app.protocols.schemas import RequestSchema
from tests.support.iris_requests import ROW

MAX_ROWS = 5


@pytest.fixture(scope="module")
def schema(card: ModelCard) -> RequestSchema:
    return RequestSchema(card, max_rows=MAX_ROWS)


@pytest.mark.parametrize(
    ("rows", "flagged"),
    [
        ([{}], []),
        ([{"sepal_length": 4.3}, {"sepal_length": 7.9}], []),
        ([{"sepal_length": 4.29}], ["sepal_length"]),
        ([{"petal_width": 99, "sepal_width": -1}], ["sepal_width", "petal_width"]),
        ([{}, {"petal_width": 99}, {"sepal_width": -1}], ["sepal_width", "petal_width"]),
    ],
)
def test_features_outside_the_training_range_are_named(
    schema: RequestSchema, rows: list[dict[str, float]], flagged: list[str]
) -> None:
    """In any row, below or above; the ends of the range are inside."""
    body = json.dumps({"instances": [{**ROW, **row} for row in rows]}).encode()
    assert schema.out_of_range(schema.batch(body)) == flagged


@pytest.mark.parametrize("kind", ["number", "text"])
@pytest.mark.parametrize(
    ("rows", "flagged"),
    [
        ([{}], ["a", "c"]),
        ([{"a": 1, "b": 1, "c": 1}], []),
        ([{"a": 1, "c": 1}], []),
        ([{"b": 1, "c": 1}, {"a": 1, "b": 9, "c": None}], ["a", "b", "c"]),
        ([{"a": 1, "c": 1}, {"a": 1, "c": 1}], []),
    ],
)
def test_a_value_that_was_never_missing_in_training_is_flagged_where_it_is(
    card: ModelCard, kind: str, rows: list[dict[str, Any]], flagged: list[str]
) -> None:
    """In the card's order, alone and in a batch, of floats or objects; not where it had gaps."""
    features = [
        *(
            Feature(name=name, minimum=0, maximum=5, nullable=True, gaps_in_training=gaps)
            for name, gaps in {"a": False, "b": True, "c": False, "d": None}.items()
        ),
        Feature(name="e", kind="text"),
    ][: 4 if kind == "number" else 5]
    card = card.model_copy(
        update={
            "features": tuple(features),
            "sample": Sample(instance={each.name: None for each in features}, answer={}),
        }
    )
    schema = RequestSchema(card, max_rows=MAX_ROWS)
    rest = {} if kind == "number" else {"e": "said"}
    parsed = schema.batch(json.dumps({"instances": [{**row, **rest} for row in rows]}).encode())
    assert schema.out_of_range(parsed) == flagged
    if len(rows) == 1:
        assert schema.out_of_range(schema.instance(json.dumps({**rows[0], **rest}).encode())) == (
            flagged
        )
    described = schema.json_schemas().instance["properties"]
    assert "never missing in training" in described["a"]["description"]
    assert "never missing" not in described["b"]["description"] + described["d"]["description"]
