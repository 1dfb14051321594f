"""The client checks a service by the sample in its own card."""

from typing import Any

import pytest

from serve_app.client import ServiceClient, ServiceError
from serve_app.model.card import ModelCard
from tests.support.canned_service import CannedService


def test_the_sample_is_asked_for_and_checked(card: ModelCard) -> None:
    """The version that answered is returned; the service is ready."""
    with CannedService(card) as service, ServiceClient(service.url) as client:
        assert client.predict_sample() == card.version
        assert client.is_ready()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"predicted_class": "virginica"}, "a class that is not the most probable one"),
        ({"predicted_class": "rose"}, "a class that the model does not have: 'rose'"),
        (
            {"probabilities": {"setosa": 0.8, "versicolor": 0.2, "virginica": 0.0}},
            "not the classifier's answer; expected .*'setosa': 0.9",
        ),
        ({"probabilities": None}, "probabilities that are not those of setosa"),
    ],
)
def test_another_answer_than_recorded_is_an_error(
    card: ModelCard, changes: dict[str, Any], problem: str
) -> None:
    """A service that answers 200 and something else is not ready."""
    with CannedService(card, changes=changes) as service, ServiceClient(service.url) as client:
        with pytest.raises(ServiceError, match=problem):
            client.predict_sample()
        assert not client.is_ready()
