"""Usual predictions are answered before Serve's path; all others go that way, as they are."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from starlette.types import Receive, Scope, Send

from serve_app.http import direct
from serve_app.http.direct import DirectPath, DirectRoutes, look_at
from serve_app.http.routes import Routes
from serve_app.ray_internals.direct_ingress import ReplicaBooks
from tests.http.lane import BODY, SERVES_WAY, Books, Lane
from tests.support.in_process import ask, make_routes
from tests.support.iris_requests import ROW as SETOSA


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("/predict/", SETOSA),
        ("/predict", SETOSA),
        ("/predict/batch/", {"instances": [SETOSA, SETOSA]}),
        ("/predict/", {"sepal_length": "long"}),
        ("/predict/batch", {"instances": []}),
        ("/predict/", {**SETOSA, "petal_length": 60.0}),
        ("/predict/", [1, 2]),
    ],
)
def test_an_answer_is_that_of_serves_path(
    lane: Lane, routes: Routes, place: str, content: Any
) -> None:
    """Status, headers and body are the same, and Serve is not asked."""
    body = json.dumps(content).encode()
    status, headers, answer = lane({"content-length": str(len(body))}, [body], path=place)
    expected = ask(routes, "POST", place, body)
    del headers["x-request-id"]  # Serve's server sets it
    assert (status, headers, answer) == (expected.status, expected.headers, expected.json())
    assert lane.serve.scopes == []
    assert lane.books.ongoing == 0


INFER = "/v2/models/iris/infer"
TENSOR = {"name": "x", "shape": [1, 4], "datatype": "FP64"}
MESSAGE = json.dumps({"inputs": [{**TENSOR, "data": list(SETOSA.values())}]}).encode()


def in_bytes(rows: int) -> tuple[bytes, dict[str, str]]:
    """A request of V2 with its tensor in bytes, answered in JSON."""
    raw = np.tile(np.array(list(SETOSA.values())), (rows, 1)).tobytes()
    parameters = {"binary_data_size": len(raw)}
    tensor = {**TENSOR, "shape": [rows, 4], "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + raw, {
        "content-type": "application/octet-stream",
        "content-length": str(len(head) + len(raw)),
        "inference-header-content-length": str(len(head)),
    }


@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream", None])
def test_v2_is_answered_in_json(lane: Lane, routes: Routes, content_type: str | None) -> None:
    """Whatever it says of its type; the answer is that of Serve's path."""
    headers = {"content-length": str(len(MESSAGE)), "content-type": content_type}
    status, _, answer = lane(headers, [MESSAGE], path=INFER)
    expected = ask(routes, "POST", INFER, MESSAGE)
    assert (status, answer) == (200, expected.json())
    assert lane.serve.scopes == []


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_tensors_in_bytes_may_come_in_pieces(iris: Path, pieces: int) -> None:
    """A thousand rows are more than HAProxy sends at once."""
    body, headers = in_bytes(1000)
    size = -(-len(body) // pieces)
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    lane = Lane(make_routes(iris))
    status, _, answer = lane(headers, parts, path=INFER)
    assert status == 200
    assert answer["outputs"][0]["data"] == ["setosa"] * 1000
    assert lane.serve.scopes == []
    assert lane.books.ongoing == 0


def test_a_client_that_goes_away_between_pieces_is_let_go(lane: Lane) -> None:
    """What it has sent is no request; the replica's slot is free again."""
    body, headers = in_bytes(5)

    async def go() -> None:
        left = [
            {"type": "http.request", "body": body[:-1], "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent: list[Any] = []

        async def receive() -> Any:
            return left.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        named = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": INFER, "headers": named}
        await lane.make()(scope, receive, send)
        assert sent[0]["status"] == 400

    asyncio.run(go())
    assert lane.books.ongoing == 0


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"content-type": "text/plain"}, INFER),
        ({"content-type": "application/octet-stream"}, "/predict/"),
        ({"inference-header-content-length": "5", "content-length": "131073"}, INFER),
    ],
)
def test_what_v2_does_not_take_goes_serves_way(
    lane: Lane, headers: dict[str, str], path: str
) -> None:
    """Another type, or one that the path does not take; and tensors that are long."""
    assert lane(headers, path=path)[0] == SERVES_WAY


def test_a_length_that_is_repeated_goes_serves_way() -> None:
    """Which is meant is not to be guessed; other headers may be repeated."""
    head = (b"inference-header-content-length", b"5")
    usual = [(b"content-length", b"9"), (b"via", b"a"), head]
    assert look_at(usual).is_usual
    assert not look_at([*usual, (head[0], b"6")]).is_usual
    assert look_at([*usual[:2], (b"via", b"b")]).is_usual


def test_a_small_limit_of_the_body_holds(iris: Path) -> None:
    """What is larger goes Serve's way, which refuses it."""
    assert Lane(make_routes(iris, max_body_bytes=len(BODY)))()[0] == 200
    assert Lane(make_routes(iris, max_body_bytes=len(BODY) - 1))()[0] == SERVES_WAY


def test_a_request_has_an_id(lane: Lane) -> None:
    """The client's, or a new one each time."""
    assert lane({"x-request-id": "mine"})[1]["x-request-id"] == "mine"
    assert lane()[1]["x-request-id"] != lane()[1]["x-request-id"]


@pytest.mark.parametrize(
    ("headers", "scope"),
    [
        ({}, {"path": "/model"}),
        ({}, {"path": "/predict/none"}),
        ({}, {"path": "/-/healthz"}),
        ({}, {"method": "GET"}),
        ({"content-type": "text/plain"}, {}),
        ({"content-type": "application/json; charset=utf-8"}, {}),
        ({"content-encoding": "gzip"}, {}),
        ({"transfer-encoding": "chunked"}, {}),
        ({"x-request-timeout-seconds": "5"}, {}),
        ({"content-length": ""}, {}),
        ({"content-length": "-1"}, {}),
        ({"content-length": "16385"}, {}),
        ({"content-length": "9" * 5000}, {}),
        ({"content-length": "²"}, {}),
        ({"x-anything": "größe"}, {}),
    ],
)
def test_an_unusual_request_goes_serves_way(
    lane: Lane, headers: dict[str, str], scope: dict[str, Any]
) -> None:
    """Unread, and not counted twice."""
    assert lane(headers, **scope)[0] == SERVES_WAY
    assert lane.serve.body == BODY
    assert lane.books.ongoing == 0


def test_a_body_in_parts_goes_serves_way_whole(lane: Lane) -> None:
    """The part that has been received is not lost."""
    assert lane(parts=[BODY[:10], BODY[10:]])[0] == SERVES_WAY
    assert lane.serve.body == BODY


@pytest.mark.parametrize("reason", ["is_full", "has_access_log"])
def test_serve_limits_and_logs(lane: Lane, reason: str) -> None:
    """A replica without a free slot queues or refuses; one with an access log writes it."""
    setattr(lane.books, reason, True)
    assert lane()[0] == SERVES_WAY


def test_a_slow_model_goes_serves_way(routes: Routes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve gives up clients that went away, and queues."""
    monkeypatch.setattr(Routes, "is_slow", True)
    assert Lane(routes)()[0] == SERVES_WAY


def test_below_a_prefix_and_a_root(routes: Routes) -> None:
    """The application is mounted below both; uvicorn has put the root into the path."""
    lane = Lane(routes)
    lane.books.route_prefix = "/iris"
    assert lane(path="/root/iris/predict/", root_path="/root")[0] == 200
    assert lane(path="/predict/")[0] == SERVES_WAY


def test_other_processes_have_no_direct_path(iris: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy has no replica; a deployment may offer none."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    assert direct.direct_path(app) is app
    books = Books()
    monkeypatch.setattr(ReplicaBooks, "behind", lambda _app: books)
    assert direct.direct_path(app) is app
    books.servable = type("Deployment", (), {"direct_routes": make_routes(iris)})()
    assert isinstance(direct.direct_path(app), DirectPath)


def test_a_websocket_goes_serves_way(lane: Lane) -> None:
    """What is behind this middleware refuses it."""
    asked: list[Scope] = []

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope)

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    app = DirectPath(serve, cast(ReplicaBooks, lane.books), make_routes_of(lane), None, None)
    asyncio.run(app({"type": "websocket", "headers": []}, nothing, nothing))
    assert len(asked) == 1


def make_routes_of(lane: Lane) -> DirectRoutes:
    return lane._routes
