"""Requests worth sending, and what is wrong with an answer."""

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from loadtest.driver.announced import AnnouncedModels
from loadtest.driver.dialects import Dialect
from serve_app.model.card import ModelCard
from serve_app.model.features import Feature
from serve_app.model.instances import instance_adapter

RANDOM_ROWS = 150
OK = 200


@dataclass(frozen=True)
class Row:
    """An instance, and the model's answer to it if that is known here."""

    instance: dict[str, Any]
    expected: dict[str, Any] | None


def sample_rows(card: ModelCard, model_dir: Path) -> tuple[list[Row], str]:
    """Rows to send: all of Iris if the model knows its features, else rows from what it knows.

    The expected answers come from the same model in ``model_dir``, if it is there. Also returns a
    sentence on how the answers are checked.
    """
    instances = _iris_instances(card) or _drawn_instances(card)
    expected, note = _expected_answers(card, model_dir, instances)
    return list(map(Row, instances, expected)), note


def _iris_instances(card: ModelCard) -> list[dict[str, Any]]:
    from sklearn.datasets import load_iris

    iris = load_iris()
    names = [name.removesuffix(" (cm)").replace(" ", "_") for name in iris.feature_names]
    if sorted(names) != sorted(card.feature_names):
        return []
    columns = iris.data[:, [names.index(name) for name in card.feature_names]]
    return [dict(zip(card.feature_names, row, strict=True)) for row in columns.tolist()]


def _drawn_instances(card: ModelCard) -> list[dict[str, Any]]:
    generator = random.Random(0)
    return [
        {
            feature.name: _drawn(feature, card.sample.instance.get(feature.name), generator)
            for feature in card.features
        }
        for _ in range(RANDOM_ROWS)
    ]


def _drawn(feature: Feature, sample: Any, generator: random.Random) -> Any:
    """A value that training has seen; of texts and datetimes only the sample's is known."""
    if feature.categories:
        return generator.choice(feature.values)
    if feature.kind == "boolean":
        return generator.random() < 0.5  # noqa: PLR2004
    if feature.minimum is None or feature.maximum is None:
        return sample
    if feature.kind == "integer":
        return generator.randint(int(feature.minimum), int(feature.maximum))
    return generator.uniform(feature.minimum, feature.maximum)


def _expected_answers(
    card: ModelCard, model_dir: Path, instances: Sequence[dict[str, Any]]
) -> tuple[Sequence[dict[str, Any] | None], str]:
    from serve_app.model.artifact import Artifact, ArtifactError
    from serve_app.model.loading import load_predictor
    from serve_app.model.predictor import rows_of

    try:
        artifact = Artifact.open(model_dir, pinned_version=card.version)
    except ArtifactError:
        note = (
            f"checking form and consistency only: {model_dir} is not model {card.version}; "
            "name its directory with --model-dir to check the answers too"
        )
        return [None] * len(instances), note
    valid = map(instance_adapter(card.features).validate_python, instances)
    rows = rows_of(card.features, [list(instance.values()) for instance in valid])
    answers = card.task.answers(load_predictor(artifact).predict(rows))
    return answers, f"checking every answer against model {card.version} in {model_dir}"


class Verdict(NamedTuple):
    """What an answer is worth."""

    problem: str | None = None
    """Why it is not the one that the rows deserve; None if it is."""
    version: str | None = None
    """The model's that gave a right answer."""


def judge(
    models: AnnouncedModels, dialect: Dialect, status: int, content: bytes, rows: Sequence[Row]
) -> Verdict:
    """Judge the answer to ``rows``.

    Every version that the service announces may answer; the predictions of the first are compared
    with those that are known.
    """
    if status != OK:
        return Verdict(f"status {status}")
    try:
        version, predictions_of = dialect.read(content)
        card = models.card(version)
        if card is None:
            return Verdict(f"model_version {version}, which the service does not announce")
        predictions = predictions_of(card.task)
        if len(predictions) != len(rows):
            return Verdict(f"{len(predictions)} predictions for {len(rows)} rows")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return Verdict(f"not an answer of this service: {type(error).__name__}")
    problems = (
        card.task.problem_with(prediction, row.expected if card is models.first else None)
        for prediction, row in zip(predictions, rows, strict=True)
    )
    problem = next(filter(None, problems), None)
    return Verdict(problem) if problem else Verdict(version=version)


def new_traceparent() -> str:
    """A sampled W3C trace context that starts a new trace: https://www.w3.org/TR/trace-context/."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
