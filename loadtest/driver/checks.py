"""Requests worth sending, and what is wrong with an answer."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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

    The expected classes come from the same model in ``model_dir``, if it is there. Also returns a
    sentence on how the answers are checked.
    """
    from serve_app.model.artifact import Artifact, ArtifactError
    from serve_app.model.loading import load_predictor

    values = _iris_rows(card)
    if values is None:
        low = [feature.minimum for feature in card.features]
        high = [feature.maximum for feature in card.features]
        size = (RANDOM_ROWS, len(card.features))
        values = np.random.default_rng(0).uniform(low, high, size)
    expected: Sequence[Label | None] = [None] * len(values)
    try:
        artifact = Artifact.open(model_dir, pinned_version=card.version)
    except ArtifactError:
        note = (
            f"checking form and consistency only: {model_dir} is not model {card.version}; "
            "name its directory with --model-dir to check the classes too"
        )
    else:
        expected = load_predictor(artifact).predict(values).labels
        note = f"checking every class against model {card.version} in {model_dir}"
    return [
        Row(dict(zip(card.feature_names, row, strict=True)), label)
        for row, label in zip(values.tolist(), expected, strict=True)
    ], note


def _iris_rows(card: ModelCard) -> Any:
    from sklearn.datasets import load_iris

    iris = load_iris()
    names = [name.removesuffix(" (cm)").replace(" ", "_") for name in iris.feature_names]
    if sorted(names) != sorted(card.feature_names):
        return None
    return iris.data[:, [names.index(name) for name in card.feature_names]]


def request_of(rows: Sequence[Row]) -> tuple[str, bytes]:
    """Path and body of the request that predicts one row, or several."""
    instances = [row.instance for row in rows]
    if len(instances) == 1:
        return "/predict/", orjson.dumps(instances[0])
    return "/predict/batch/", orjson.dumps({"instances": instances})


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
        problems = map(partial(_prediction_problem, card), predictions, rows)
        return next(filter(None, problems), None)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return f"not an answer of this service: {type(error).__name__}"


def _prediction_problem(card: ModelCard, prediction: Any, row: Row) -> str | None:
    label, probabilities = prediction["predicted_class"], prediction["probabilities"]
    problem = None
    if label not in card.classes:
        problem = "a class that the model does not have"
    elif row.expected is not None and label != row.expected:
        problem = "not the class that the model gives"
    elif not card.has_probabilities:
        problem = None if probabilities is None else "probabilities that the model does not have"
    elif tuple(probabilities) != card.class_names:
        problem = "probabilities of other classes"
    elif abs(sum(probabilities.values()) - 1) > PROBABILITY_SUM_TOLERANCE:
        problem = "probabilities that do not add up to 1"
    elif (
        card.labels_follow_probabilities and max(probabilities.values()) > probabilities[str(label)]
    ):
        problem = "a class that is not the most probable one"
    return problem


def new_traceparent() -> str:
    """A sampled W3C trace context that starts a new trace: https://www.w3.org/TR/trace-context/."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
