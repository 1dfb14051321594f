"""A contestant is measured only if it answers, and answers rightly."""

from pathlib import Path

import pytest

from bench.models import BenchModel
from bench.systems import Contestant
from serve_app.errors import UserError
from serve_app.model.card import ModelCard
from serve_app.runtime.ports import free_port
from tests.support.canned_service import CannedService


@pytest.fixture
def model(card: ModelCard, iris: Path) -> BenchModel:
    return BenchModel("lr", iris, iris, card)


@pytest.fixture
def rounded(card: ModelCard) -> ModelCard:
    """The model, if it were as sure of its answers as the canned service is."""
    probabilities = {name: float(name == "setosa") for name in card.class_names}
    sample = card.sample.model_copy(update={"probabilities": probabilities})
    return card.model_copy(update={"sample": sample})


def test_a_right_answer_is_accepted(rounded: ModelCard, iris: Path) -> None:
    """Class and probabilities are those of the model card, alone and in a batch."""
    sure = BenchModel("lr", iris, iris, rounded)
    with CannedService(rounded) as service:
        contestant = Contestant("canned", service.url, sure, batches=True)
        assert contestant.is_ready()
        contestant.check()


def test_a_wrong_answer_is_an_error(model: BenchModel, card: ModelCard) -> None:
    """Probabilities that are far from the card's: the speed of that system is of no interest."""
    with CannedService(card) as service:
        contestant = Contestant("canned", service.url, model)
        assert contestant.is_ready()
        with pytest.raises(UserError, match=r"canned answered .*, not "):
            contestant.check()


def test_no_answer_is_not_ready(model: BenchModel) -> None:
    """Nothing listens at the address."""
    assert not Contestant("none", f"http://127.0.0.1:{free_port()}", model).is_ready()
