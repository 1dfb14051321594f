"""A client tells a service that answers from all that can be at an address."""

from typing import Any

import pytest

from serve_app.client import ServiceClient, ServiceError
from serve_app.model.card import ModelCard
from serve_app.runtime.ports import free_port
from tests.support.canned_server import CannedServer
from tests.support.canned_service import CannedService
from tests.support.loopback import LoopbackServer, QuietHandler


def test_the_sample_is_answered(card: ModelCard) -> None:
    """Card, predictions and readiness, from a service whose address ends with a slash."""
    with CannedService(card) as service, ServiceClient(f"{service.url}/") as client:
        assert client.card() == card
        assert (
            client.predict(card.example)["predicted_class"] == card.sample.answer["predicted_class"]
        )
        assert client.predict_sample() == card.version
        batch = client.predict_batch([card.example] * 3)
        assert [each["predicted_class"] for each in batch] == [
            card.sample.answer["predicted_class"]
        ] * 3
        assert client.is_ready()


def test_a_batch_has_an_answer_for_each_row(card: ModelCard) -> None:
    """A service that answers fewer rows than it was asked for is refused."""

    class Forgetful(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
            self.rfile.read(int(self.headers["content-length"]))
            self.answer(b'{"predictions": []}')

    with (
        LoopbackServer(Forgetful) as server,
        ServiceClient(server.url) as client,
        pytest.raises(ServiceError, match="/predict/batch/ answered 0 of 2 rows"),
    ):
        client.predict_batch([card.example] * 2)


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
def test_another_answer_than_the_cards_is_an_error(
    card: ModelCard, changes: dict[str, Any], problem: str
) -> None:
    """A service that answers its own sample wrongly is not ready."""
    sample = card.sample.model_copy(update={"answer": card.sample.answer | changes})
    wrong = card.model_copy(update={"sample": sample})
    with CannedService(card, answers_as=wrong) as service, ServiceClient(service.url) as client:
        with pytest.raises(ServiceError, match=problem):
            client.predict_sample()
        assert not client.is_ready()


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://[", "nowhere"])
def test_an_address_without_a_service_is_an_error(url: str) -> None:
    """The error names the address, the reason and how to start a service."""
    url = url.format(port=free_port())
    with ServiceClient(url) as client:
        with pytest.raises(ServiceError, match=r"cannot be reached .*`serve-app serve`") as error:
            client.card()
        assert str(error.value).startswith(f"{url}/model ")
        assert not client.is_ready()


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (404, "no such path", r"/model answered 404: no such path"),
        (503, "a\nb" * 1000, r"/model answered 503: a ba b"),
        (200, "<html>", r"answered '<html>', which is not a JSON object; check that the address"),
        (200, ["setosa"], r"which is not a JSON object"),
        (200, {"name": "iris"}, r"shows no model card of this service \(.*: Field required\)"),
    ],
)
def test_what_is_no_service_of_this_project_is_an_error(
    status: int, content: Any, message: str
) -> None:
    """One line says what was there instead of a model card, cut to be short."""
    with (
        CannedServer({"/model": (status, content)}) as server,
        ServiceClient(server.url) as client,
        pytest.raises(ServiceError, match=message) as error,
    ):
        client.card()
    assert len(str(error.value)) < 500
    assert "\n" not in str(error.value)


def test_what_a_service_lacks_is_no_error() -> None:
    """A path that it does not have; any other status than 200 and 404 is an error."""
    answers = {"/v2": (200, {}), "/v1": (503, "no replica is up")}
    with CannedServer(answers) as server, ServiceClient(server.url) as client:
        assert client.has("/v2")
        assert not client.has("/v3")
        with pytest.raises(ServiceError, match="/v1 answered 503: no replica is up"):
            client.has("/v1")
