"""The model card refuses what cannot be served, and its version is its content's."""

from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.model.card import ModelCard
from serve_app.model.features import Feature
from serve_app.model.values import LARGEST_VALUE

CLASSES = {
    "name": "classification",
    "classes": ["setosa", "versicolor", "virginica"],
    "has_probabilities": True,
    "labels_follow_probabilities": True,
}


def changed(card: ModelCard, **fields: Any) -> dict[str, Any]:
    """The card's JSON with other ``fields``."""
    return {**card.model_dump(mode="json"), **fields}


def test_a_card_survives_json(card: ModelCard) -> None:
    """A card read from its own JSON is the same card, integer and string labels included."""
    assert ModelCard.model_validate_json(card.model_dump_json()) == card


def test_the_version_follows_every_field(card: ModelCard) -> None:
    """If any field changes, the version changes; the recorded version itself has no part in it."""
    assert card.version == card.content_version()
    assert ModelCard.model_validate(changed(card, version="x")).content_version() == card.version
    for field, value in {
        "name": "other",
        "metrics": {"test_accuracy": 0.5},
        "files": {"model.onnx": "0" * 64},
        "training_data": None,
    }.items():
        other = ModelCard.model_validate(changed(card, **{field: value}))
        assert other.content_version() != card.version, field


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema_version": 1}, "schema_version"),
        ({"unknown": 1}, "unknown"),
        ({"name": ""}, "name"),
        ({"features": []}, "features"),
        ({"metrics": {"loss": float("inf")}}, "finite"),
        ({"files": {"model.onnx": "abc"}}, "model.onnx"),
        ({"task": {"name": "divination"}}, "divination"),
        ({"task": {**CLASSES, "classes": ["setosa"]}}, "classes"),
        ({"task": {**CLASSES, "classes": ["a", "b"]}}, "a class that the model does not have"),
        (
            {"task": {**CLASSES, "classes": ["setosa", "b", "c"]}},
            "probabilities that are not those of setosa, b, c",
        ),
        (
            {"task": {**CLASSES, "has_probabilities": False}},
            "probabilities that the model does not have",
        ),
        ({"task": {"name": "regression", "targets": ["price"]}}, "answer without prediction"),
        ({"features": [{"name": "x", "minimum": 0, "maximum": 1}]}, "every feature and no other"),
    ],
)
def test_what_does_not_fit_is_refused(
    card: ModelCard, fields: dict[str, Any], message: str
) -> None:
    """A card of another format, or whose parts contradict each other, names what is wrong."""
    with pytest.raises(ValidationError, match=message):
        ModelCard.model_validate(changed(card, **fields))


def test_repeated_feature_names_are_refused(card: ModelCard) -> None:
    """Two columns of one name could not be told apart in a request."""
    features = [feature.model_dump() for feature in (*card.features, card.features[0])]
    with pytest.raises(ValidationError, match="repeated: sepal_length"):
        ModelCard.model_validate(changed(card, features=features))


@pytest.mark.parametrize("name", ["", 'a"b', "a\\b", "a\nb", "\x00", "x" * 201])
def test_feature_names_are_plain_json_keys(name: str) -> None:
    """Names that JSON would have to escape are refused: repeated keys are found by counting."""
    with pytest.raises(ValidationError, match="name"):
        Feature(name=name, minimum=0, maximum=1)


@pytest.mark.parametrize(
    ("minimum", "maximum", "message"),
    [(2.0, 1.0, "minimum 2.0 is above maximum 1.0"), (0.0, float("nan"), "finite")],
)
def test_a_range_is_ordered_and_finite(minimum: float, maximum: float, message: str) -> None:
    """A range that no value can lie in is refused with both ends."""
    with pytest.raises(ValidationError, match=message):
        Feature(name="x", minimum=minimum, maximum=maximum)


@pytest.mark.parametrize("value", [1.01 * LARGEST_VALUE, -1.01 * LARGEST_VALUE])
def test_a_card_promises_no_value_that_a_request_cannot_send(card: ModelCard, value: float) -> None:
    """Ranges and sample are bounded as requests are, or a model would refuse its own sample."""
    low, high = min(value, 0), max(value, 0)
    with pytest.raises(ValidationError, match="than or equal to"):
        Feature(name="x", minimum=low, maximum=high)
    sample = card.sample.model_dump()
    sample["instance"]["sepal_length"] = value
    with pytest.raises(ValidationError, match="than or equal to"):
        ModelCard.model_validate(changed(card, sample=sample))
    Feature(name="x", minimum=-LARGEST_VALUE, maximum=LARGEST_VALUE)
