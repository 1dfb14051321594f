"""Usual predictions are answered before Serve's path; all others go that way, as they are."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send

from serve_app.http import direct
from serve_app.http.direct import DirectPath, DirectRoutes
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
