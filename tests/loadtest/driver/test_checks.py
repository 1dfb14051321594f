"""Requests from real rows, and what is wrong with an answer."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_iris

from loadtest.driver.announced import AnnouncedModels
from loadtest.driver.checks import Row, judge, new_traceparent, sample_rows
from loadtest.driver.dialects import Native
from serve_app.model.artifact import Artifact
from serve_app.model.card import ModelCard
from tests.support.tables import mixed_model


@pytest.fixture(scope="module")
def card(iris: Path) -> ModelCard:
    return Artifact.open(iris).card


def test_rows_are_all_of_iris_with_the_models_answers(card: ModelCard, iris: Path) -> None:
    """Real rows, each with the class that the same model gives it here."""
    rows, note = sample_rows(card, iris)
    data = load_iris()
    assert [list(row.instance.values()) for row in rows] == data.data.tolist()
    assert all(tuple(row.instance) == card.feature_names for row in rows)
    right = sum(
        (row.expected or {})["predicted_class"] == data.target_names[label]
        for row, label in zip(rows, data.target, strict=True)
    )
    assert right > 140
    assert "every answer" in note


def test_without_the_same_model_only_form_is_checked(card: ModelCard, tmp_path: Path) -> None:
    """A model that is not here, or another version of it, cannot say what is right."""
    rows, note = sample_rows(card, tmp_path)
    assert all(row.expected is None for row in rows)
    assert "--model-dir" in note


def test_other_models_get_rows_from_their_ranges(card: ModelCard, tmp_path: Path) -> None:
    """The load test works for any packaged model."""
    features = tuple(f.model_copy(update={"name": f"x{i}"}) for i, f in enumerate(card.features))
    rows, _ = sample_rows(card.model_copy(update={"features": features}), tmp_path)
    assert len(rows) > 100
    for row in rows:
        for feature in features:
            assert feature.minimum is not None
            assert feature.maximum is not None
            assert feature.minimum <= row.instance[feature.name] <= feature.maximum


def test_rows_of_any_kind_of_column_are_answered_as_the_model_does(tmp_path: Path) -> None:
    """Numbers, booleans and categories vary; every row is one that the model takes."""
    mixed = mixed_model()
    artifact = mixed.write(tmp_path / "model")
    rows, note = sample_rows(artifact.card, tmp_path / "model")
    assert "every answer" in note
    for name in ("age", "member", "plan", "region", "code"):
        assert len({row.instance[name] for row in rows}) > 1
    expected = mixed.task.answers(mixed.predictor.predict(mixed.rows(rows[0].instance)))[0]
    content = json.dumps({**expected, "model_version": artifact.card.version}).encode()
    assert what_is_wrong(artifact.card, 200, content, rows[:1]) is None


def what_is_wrong(card: ModelCard, status: int, content: bytes, rows: list[Row]) -> str | None:
    """The problem with an answer of a service that announces ``card``, and no other."""
    return judge(AnnouncedModels(card, lambda: card), Native(), status, content, rows).problem


GOOD: dict[str, Any] = {
    "predicted_class": "setosa",
    "probabilities": {"setosa": 0.9, "versicolor": 0.1, "virginica": 0.0},
}
ROW = Row({"sepal_length": 5.0}, GOOD)


def answered(card: ModelCard, **changes: Any) -> bytes:
    return json.dumps({**GOOD, "model_version": card.version, **changes}).encode()


def test_a_right_answer_is_right(card: ModelCard) -> None:
    """One row and a batch."""
    assert what_is_wrong(card, 200, answered(card), [ROW]) is None
    batch = {"predictions": [GOOD, GOOD], "model_version": card.version}
    assert what_is_wrong(card, 200, json.dumps(batch).encode(), [ROW, ROW]) is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"predicted_class": "rose"}, "a class that the model does not have"),
        ({"predicted_class": "virginica"}, "a class that is not the most probable one"),
        ({"probabilities": None}, "probabilities that are not those of setosa"),
        ({"probabilities": {"setosa": 1.0}}, "probabilities that are not those of setosa"),
        (
            {"probabilities": {"setosa": 0.9, "versicolor": 0.2, "virginica": 0.0}},
            "do not add up",
        ),
        (
            {"probabilities": {"setosa": 0.1, "versicolor": 0.9, "virginica": 0.0}},
            "not the most probable",
        ),
        (
            {"probabilities": {"setosa": 0.8, "versicolor": 0.2, "virginica": 0.0}},
            "not the classifier's answer",
        ),
        ({"model_version": "0" * 12}, "000000000000, which the service does not announce"),
    ],
)
def test_wrong_answers_are_named(card: ModelCard, changes: dict[str, Any], problem: str) -> None:
    """Status 200 is not enough."""
    found = what_is_wrong(card, 200, answered(card, **changes), [ROW])
    assert found is not None
    assert problem in found


def test_another_version_that_is_announced_answers_too(card: ModelCard) -> None:
    """A retrained model's answers may differ from those that are known here; their form may not."""
    after = card.model_copy(update={"version": "1" * 12})
    models = AnnouncedModels(card, lambda: after)
    other = {"probabilities": {"setosa": 0.8, "versicolor": 0.2, "virginica": 0.0}}
    content = answered(card, **other, model_version=after.version)
    assert judge(models, Native(), 200, content, [ROW]).version == after.version
    assert judge(models, Native(), 200, answered(card), [ROW]).version == card.version
    wrong = judge(models, Native(), 200, answered(after, predicted_class="rose"), [ROW])
    assert (wrong.problem, wrong.version) == (
        "a class that the model does not have: 'rose'",
        None,
    )


@pytest.mark.parametrize("content", [b"", b"OK", b"[]", b'"x"', b"{}", b"null"])
def test_other_documents_are_no_answers(card: ModelCard, content: bytes) -> None:
    """Whatever a proxy or another service says, the load test goes on and counts a failure."""
    found = what_is_wrong(card, 200, content, [ROW])
    assert found is not None
    assert "not an answer of this service" in found


def test_status_and_number_of_predictions_count(card: ModelCard) -> None:
    """A refused request, and half a batch."""
    assert what_is_wrong(card, 429, b"", [ROW]) == "status 429"
    half = {"predictions": [GOOD], "model_version": card.version}
    found = what_is_wrong(card, 200, json.dumps(half).encode(), [ROW, ROW])
    assert found == "1 predictions for 2 rows"


def test_traceparents_are_sampled_and_differ() -> None:
    """Each is the root of a trace of its own."""
    first, second = new_traceparent(), new_traceparent()
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", first)
    assert first != second
