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
def other(card: ModelCard) -> ModelCard:
    """The model, if it were sure of its answer."""
    probabilities = {"setosa": 1.0, "versicolor": 0.0, "virginica": 0.0}
    answer = {**card.sample.answer, "probabilities": probabilities}
    sample = card.sample.model_copy(update={"answer": answer})
    return card.model_copy(update={"sample": sample})


def test_a_right_answer_is_accepted(model: BenchModel, card: ModelCard) -> None:
    """Class and probabilities are those of the model card, alone and in a batch."""
    with CannedService(card) as service:
        contestant = Contestant("canned", service.url, model, batches=True)
        assert contestant.is_ready()
        contestant.check()


def test_a_wrong_answer_is_an_error(model: BenchModel, card: ModelCard, other: ModelCard) -> None:
    """Probabilities that are far from the card's: the speed of that system is of no interest."""
    with CannedService(card, answers_as=other) as service:
        contestant = Contestant("canned", service.url, model)
        assert contestant.is_ready()
        with pytest.raises(UserError, match=r"canned answered .*, not "):
            contestant.check()


def test_no_answer_is_not_ready(model: BenchModel) -> None:
    """Nothing listens at the address."""
    assert not Contestant("none", f"http://127.0.0.1:{free_port()}", model).is_ready()
