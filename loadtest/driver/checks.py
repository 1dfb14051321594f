"""Requests worth sending, and what is wrong with an answer."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from serve_app.model.card import Label, ModelCard

PROBABILITY_SUM_TOLERANCE = 1e-3
RANDOM_ROWS = 150
OK = 200


@dataclass(frozen=True)
class Row:
    """An instance, and the class that the model gives it if that is known here."""

    instance: dict[str, float]
    expected: Label | None


def sample_rows(card: ModelCard, model_dir: Path) -> tuple[list[Row], str]:
    """Rows to send: all of Iris if the model knows its features, else rows from its ranges.

    Args:
        card: the served model's card.
        model_dir: where the same model may be; the expected classes come from it.

    Returns:
        The rows, and a sentence on how their answers are checked.
    """
    values = _iris_rows(card)
    if values is None:
        generator = np.random.default_rng(0)
        low = [feature.minimum for feature in card.features]
        high = [feature.maximum for feature in card.features]
        values = generator.uniform(low, high, size=(RANDOM_ROWS, len(card.features)))
    expected, note = _expected_classes(card, model_dir, values)
    names = card.feature_names
    return [
        Row(dict(zip(names, row, strict=True)), label)
        for row, label in zip(values.tolist(), expected, strict=True)
    ], note


def _iris_rows(card: ModelCard) -> Any:
    from sklearn.datasets import load_iris

    iris = load_iris()
    names = [name.removesuffix(" (cm)").replace(" ", "_") for name in iris.feature_names]
    if sorted(names) != sorted(card.feature_names):
        return None
    return iris.data[:, [names.index(name) for name in card.feature_names]]


def _expected_classes(
    card: ModelCard, model_dir: Path, values: Any
) -> tuple[Sequence[Label | None], str]:
    from serve_app.model.artifact import Artifact, ArtifactError
    from serve_app.model.loading import load_predictor

    try:
        artifact = Artifact.open(model_dir, pinned_version=card.version)
    except ArtifactError:
        note = (
            f"checking form and consistency only: {model_dir} is not model {card.version}; "
            "name its directory with --model-dir to check the classes too"
        )
        return [None] * len(values), note
    labels = load_predictor(artifact).predict(values).labels
    return labels, f"checking every class against model {card.version} in {model_dir}"


def single_body(row: Row) -> bytes:
    """Body of a request to ``/predict/``."""
    return orjson.dumps(row.instance)


def batch_body(rows: Sequence[Row]) -> bytes:
    """Body of a request to ``/predict/batch/``."""
    return orjson.dumps({"instances": [row.instance for row in rows]})


def what_is_wrong(card: ModelCard, status: int, content: bytes, rows: Sequence[Row]) -> str | None:
    """Why an answer is not the one that ``rows`` deserve, or None if it is.

    The answer to one row and to a batch differ in form; the batch's has ``predictions``.
    """
    if status != OK:
        return f"status {status}"
    try:
        answer = orjson.loads(content)
        version = answer["model_version"]
        predictions = answer.get("predictions", [answer])
        if version != card.version:
            return f"model_version {version}, not {card.version}"
        if len(predictions) != len(rows):
            return f"{len(predictions)} predictions for {len(rows)} rows"
        for prediction, row in zip(predictions, rows, strict=True):
            problem = _prediction_problem(card, prediction, row.expected)
            if problem is not None:
                return problem
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return f"not an answer of this service: {type(error).__name__}"
    return None


def _prediction_problem(card: ModelCard, prediction: Any, expected: Label | None) -> str | None:
    label, probabilities = prediction["predicted_class"], prediction["probabilities"]
    if label not in card.classes:
        return "a class that the model does not have"
    if expected is not None and label != expected:
        return "not the class that the model gives"
    if not card.has_probabilities:
        return None if probabilities is None else "probabilities that the model does not have"
    return _probability_problem(card, label, probabilities)


def _probability_problem(
    card: ModelCard, label: Label, probabilities: dict[str, float]
) -> str | None:
    if tuple(probabilities) != card.class_names:
        return "probabilities of other classes"
    if abs(sum(probabilities.values()) - 1) > PROBABILITY_SUM_TOLERANCE:
        return "probabilities that do not add up to 1"
    if card.labels_follow_probabilities and max(probabilities.values()) > probabilities[str(label)]:
        return "a class that is not the most probable one"
    return None


def new_traceparent() -> str:
    """A sampled W3C trace context that starts a new trace: https://www.w3.org/TR/trace-context/."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
