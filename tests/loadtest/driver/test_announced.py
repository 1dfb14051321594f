"""Which model versions count as the service's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loadtest.driver.announced import TRIES, AnnouncedModels
from serve_app.client import ServiceError
from serve_app.model.artifact import Artifact
from serve_app.model.card import ModelCard

NEW = "1" * 12


@pytest.fixture(scope="module")
def card(iris: Path) -> ModelCard:
    return Artifact.open(iris).card


def with_version(card: ModelCard, version: str) -> ModelCard:
    return card.model_copy(update={"version": version})


def test_a_version_counts_once_any_worker_announces_it(card: ModelCard) -> None:
    """Old workers answer some of the questions, and one of them not at all."""

    def answers() -> Iterator[ModelCard | None]:
        yield from (card, None, card, with_version(card, NEW))

    asked = answers()

    def fetch() -> ModelCard:
        found = next(asked)
        if found is None:
            raise ServiceError("away")
        return found

    models = AnnouncedModels(card, fetch)
    assert models.card(card.version) is card
    found = models.card(NEW)
    assert found is not None
    assert found.version == NEW
    assert models.card(NEW) is found


def test_a_version_that_nobody_announces_does_not(card: ModelCard) -> None:
    """Nor is it asked for with each of its answers, by all users."""
    asked: list[int] = []

    def fetch() -> ModelCard:
        asked.append(1)
        return card

    models = AnnouncedModels(card, fetch)
    with ThreadPoolExecutor(8) as users:
        assert list(users.map(models.card, [NEW] * 8)) == [None] * 8
    assert len(asked) == TRIES
