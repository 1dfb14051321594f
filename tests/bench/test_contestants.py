"""A contestant is measured only if it answers, and answers rightly, in its server's own form."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.contestants import OWN, Contestant, WrongAnswerError
from bench.dialects import Dialect, Invocations, OpenInference, ProtocolV1, RowsOfApi
from bench.models import BATCH_ROWS, BenchModel
from serve_app.runtime.ports import free_port
from tests.support.loopback import LoopbackServer, QuietHandler


class Server(LoopbackServer):
    """Answers each request with what ``answer`` makes of its path and body."""

    def __init__(self, answer: Callable[[str, Any], Any], status: int = 200) -> None:
        class Handler(QuietHandler):
            def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.answer(json.dumps(answer(self.path, body)).encode(), status)

        super().__init__(Handler)


def own(model: BenchModel) -> Callable[[str, Any], Any]:
    """Answers as a service of this project."""

    def answer(path: str, body: Any) -> Any:
        if path == "/predict/":
            return model.answers[model.instances.index(body)]
        found = [model.answers[model.instances.index(each)] for each in body["instances"]]
        assert path == "/predict/batch/"
        return {"predictions": found}

    return answer


def probabilities(model: BenchModel, rows: int) -> list[list[float]]:
    return [list(each["probabilities"].values()) for each in model.answers[:rows]]


def open_inference(model: BenchModel) -> Callable[[str, Any], Any]:
    """Answers as MLServer, for as many rows as the first input has."""

    def answer(path: str, body: Any) -> Any:
        assert path == f"/v2/models/{model.name}/infer"
        found = probabilities(model, body["inputs"][0]["shape"][0])
        data = [value for row in found for value in row]
        return {"outputs": [{"shape": [len(found), len(found[0])], "data": data}]}

    return answer


def rows_of_api(model: BenchModel) -> Callable[[str, Any], Any]:
    """Answers as the services for BentoML, LitServe and plain Ray Serve."""

    def answer(path: str, body: Any) -> Any:
        assert path == f"/{model.name}"
        return probabilities(model, len(body["rows"]))

    return answer


def protocol_v1(model: BenchModel) -> Callable[[str, Any], Any]:
    """Answers as KServe."""

    def answer(path: str, body: Any) -> Any:
        assert path == f"/v1/models/{model.name}:predict"
        return {"predictions": probabilities(model, len(body["instances"]))}

    return answer


def invocations(model: BenchModel) -> Callable[[str, Any], Any]:
    """Answers as MLflow."""

    def answer(path: str, body: Any) -> Any:
        assert path == "/invocations"
        (rows,) = body.values()
        if model.takes_frame:
            assert rows["columns"] == list(model.card.feature_names)
            rows = rows["data"]
        return {"predictions": probabilities(model, len(rows))}

    return answer


@pytest.mark.parametrize("name", ["lr", "mixed"])
@pytest.mark.parametrize(
    ("dialect", "answers"),
    [
        (OWN, own),
        (OpenInference(), open_inference),
        (RowsOfApi(), rows_of_api),
        (ProtocolV1(), protocol_v1),
        (Invocations(), invocations),
    ],
)
def test_right_answers_are_accepted(
    name: str,
    dialect: Dialect,
    answers: Callable[[BenchModel], Callable[[str, Any], Any]],
    models: dict[str, BenchModel],
) -> None:
    """Class and probabilities are the estimator's, alone and in a batch, in each server's form."""
    model = models[name]
    with Server(answers(model)) as server:
        contestant = Contestant("one", server.url, model, batches=True, dialect=dialect)
        assert contestant.is_ready()
        contestant.check()
        assert len(contestant.ask(BATCH_ROWS)) == BATCH_ROWS


@pytest.mark.parametrize("row", [0, BATCH_ROWS - 1])
@pytest.mark.parametrize(
    "changed",
    [
        {"predicted_class": "another"},
        {"probabilities": {"setosa": 0.4, "versicolor": 0.3, "virginica": 0.3}},
        {"probabilities": {}},
        {"probabilities": None},
    ],
)
def test_a_wrong_answer_is_an_error(
    row: int, changed: dict[str, Any], models: dict[str, BenchModel]
) -> None:
    """Also in the last row of a batch: the speed of that system is of no interest."""
    model, wrong = models["lr"], list(models["lr"].answers)
    wrong[row] = {**wrong[row], **changed}
    with Server(own(replace(model, answers=wrong))) as server:
        contestant = Contestant("canned", server.url, model, batches=True)
        with pytest.raises(WrongAnswerError, match=r"canned answered .*, not "):
            contestant.check()


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ({"detail": "no such column"}, 422, "answered 422: .*no such column"),
        ([1, 2], 200, "does not answer"),
        ({"predictions": []}, 200, "answered 0 of 1 rows"),
    ],
)
def test_what_is_no_answer_is_not_ready(
    content: Any, status: int, message: str, models: dict[str, BenchModel]
) -> None:
    """Another status, another form and another number of rows each say what came."""
    with Server(lambda _path, _body: content, status) as server:
        contestant = Contestant("other", server.url, models["lr"])
        assert not contestant.is_ready()
        with pytest.raises(WrongAnswerError, match=message):
            contestant.ask()


def test_nothing_at_the_address_is_not_ready(models: dict[str, BenchModel]) -> None:
    """A server that has not started is asked again, not taken for a fault."""
    assert not Contestant("none", f"http://127.0.0.1:{free_port()}", models["lr"]).is_ready()


def test_only_some_are_measured_at_every_load(models: dict[str, BenchModel]) -> None:
    """The others would make the run too long: peers, and models beside those of Iris."""
    lr, mixed = models["lr"], models["mixed"]
    assert Contestant("ours-lr-onnx", "", lr).at_every_load
    assert not Contestant("ours-mixed-onnx", "", mixed).at_every_load
    assert not Contestant("mlserver-lr", "", lr, dialect=OpenInference()).at_every_load
