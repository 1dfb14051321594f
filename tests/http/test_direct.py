"""Usual predictions are answered before Serve's path; all others go that way, as they are."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.types import Message, Receive, Scope, Send

from serve_app.http import direct
from serve_app.http.direct import DirectPath, DirectRoutes
from serve_app.http.routes import Answer, Routes
from serve_app.ray_internals.direct_ingress import ReplicaBooks
from serve_app.tracing.sampling import NOT_SAMPLED, Sampling
from tests.support.in_process import ask, make_routes
from tests.support.iris_requests import ROW as SETOSA

BODY = json.dumps(SETOSA).encode()
USUAL = {"host": "localhost", "content-type": "application/json", "content-length": str(len(BODY))}
TRACED = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
UNTRACED = TRACED[:-2] + "00"
SERVES_WAY = 299
"""Status of a request that was handed on."""


class Books:
    """Serve's books of a replica, in the open."""

    def __init__(self) -> None:
        self.servable: object = None
        self.route_prefix = "/"
        self.timeout_seconds: float | None = 10.0
        self.has_access_log = False
        self.is_full = False
        self.ongoing = 0
        self.entries: list[tuple[str, int, int]] = []

    def begin(self) -> None:
        self.ongoing += 1

    def end(self) -> None:
        self.ongoing -= 1

    def enter(self, method: str, status: int, latencies: Sequence[float]) -> None:
        assert all(latency > 0 for latency in latencies)
        self.entries.append((method, status, len(latencies)))


class ServesWay:
    """What Serve would be given."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        while True:
            message = await receive()
            self.body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        await send({"type": "http.response.start", "status": SERVES_WAY, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    @property
    def traceparents(self) -> list[bytes]:
        """Of its only request."""
        (scope,) = self.scopes
        return [value for name, value in scope["headers"] if name == b"traceparent"]


class Lane:
    """The direct path between a client and Serve."""

    def __init__(self, routes: DirectRoutes, sampling: Sampling | None = None) -> None:
        self.books, self.serve = Books(), ServesWay()
        self._routes, self._sampling = routes, sampling

    def make(self) -> DirectPath:
        return DirectPath(self.serve, cast(ReplicaBooks, self.books), self._routes, self._sampling)

    def __call__(
        self,
        headers: dict[str, str] | None = None,
        parts: Sequence[bytes] = (BODY,),
        **scope: Any,
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON of the answer to one request."""
        return asyncio.run(self.ask(self.make(), headers or {}, parts, **scope))

    async def ask(
        self, app: DirectPath, headers: dict[str, str], parts: Sequence[bytes], **scope: Any
    ) -> tuple[int, dict[str, str], Any]:
        left, sent = list(parts), list[Message]()

        async def receive() -> Message:
            body = left.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(left)}

        async def send(message: Message) -> None:
            sent.append(message)

        named = {**USUAL, **headers}.items()
        request = {
            "type": "http",
            "method": "POST",
            "path": "/predict/",
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in named],
            **scope,
        }
        await app(request, receive, send)
        start, body = sent
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], found, json.loads(body["body"] or b"null")


class Sluggish:
    """A model that never answers."""

    predictions = ("/predict/",)
    is_slow = False

    async def predict(self, path: str, body: bytes) -> Answer:
        del path, body
        await asyncio.Event().wait()
        raise AssertionError


@pytest.fixture
def lane(routes: Routes) -> Lane:
    """A replica of the default model, which traces nothing."""
    return Lane(routes)


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


class Ratio(Sampling):
    """Traces what has no caller that decides, or does not."""

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio


@pytest.mark.parametrize(
    ("ratio", "traceparent", "is_traced"),
    [
        (0, TRACED, True),
        (1, None, True),
        (1, "nonsense", True),
        (0, None, False),
        (1, UNTRACED, False),
    ],
)
def test_a_traced_request_goes_serves_way(
    routes: Routes, ratio: float, traceparent: str | None, *, is_traced: bool
) -> None:
    """With what its caller says; another is answered at once, or not traced on that way."""
    headers = {} if traceparent is None else {"traceparent": traceparent}
    lane = Lane(routes, Ratio(ratio))
    assert lane(headers)[0] == (SERVES_WAY if is_traced else 200)
    other = Lane(routes, Ratio(ratio))
    assert other(headers, path="/model")[0] == SERVES_WAY
    if is_traced:
        assert other.serve.traceparents == [value.encode() for value in headers.values()]
    else:
        assert other.serve.traceparents == [(traceparent or NOT_SAMPLED.decode()).encode()]


def test_requests_are_entered_in_the_books(lane: Lane) -> None:
    """Once a second, in bulk, by status; a request under way is counted as ongoing."""

    async def go() -> None:
        app = lane.make()
        for _ in range(3):
            await lane.ask(app, {}, [BODY])
        await lane.ask(app, {"content-length": "2"}, [b"{}"])
        assert lane.books.entries == []
        app.enter()
        assert lane.books.entries == [("POST", 200, 3), ("POST", 422, 1)]
        app.enter()
        assert len(lane.books.entries) == 2

    asyncio.run(go())


def test_the_books_are_kept_without_being_asked(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also after an entry that failed, which is logged."""
    monkeypatch.setattr(direct, "BOOKS_SECONDS", 0.01)
    enter = lane.books.enter
    failures = iter([RuntimeError("no metrics")])

    def refuse_once(method: str, status: int, latencies: Sequence[float]) -> None:
        for failure in failures:
            raise failure
        enter(method, status, latencies)

    monkeypatch.setattr(lane.books, "enter", refuse_once)

    async def go() -> None:
        app = lane.make()
        for _ in range(100):
            await lane.ask(app, {}, [BODY])
            await asyncio.sleep(0.01)
            if lane.books.entries:
                return

    asyncio.run(go())
    assert lane.books.entries
    assert "requests could not be counted" in caplog.text


def test_what_takes_too_long_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Serve answers it; the slot is free again."""
    monkeypatch.setattr(direct, "BOOKS_SECONDS", 0.01)
    lane = Lane(Sluggish())
    lane.books.timeout_seconds = 0.05

    async def go() -> tuple[int, dict[str, str], Any]:
        app = lane.make()
        request = asyncio.create_task(lane.ask(app, {"x-request-id": "mine"}, [BODY]))
        while not request.done():
            await asyncio.sleep(0.01)
            assert lane.books.ongoing == (not request.done())
            app.enter()
        return await request

    status, headers, answer = asyncio.run(go())
    assert (status, headers["x-request-id"]) == (408, "mine")
    assert answer == {"detail": "Request mine timed out after 0.05s."}
    assert lane.books.ongoing == 0


def test_a_server_that_stops_is_not_held_up() -> None:
    """A request that is cancelled from outside is not answered 408."""
    lane = Lane(Sluggish())

    async def go() -> None:
        request = asyncio.create_task(lane.ask(lane.make(), {}, [BODY]))
        await asyncio.sleep(0.01)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

    asyncio.run(go())
    assert lane.books.ongoing == 0


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

    app = DirectPath(serve, cast(ReplicaBooks, lane.books), make_routes_of(lane), None)
    asyncio.run(app({"type": "websocket", "headers": []}, nothing, nothing))
    assert len(asked) == 1


def make_routes_of(lane: Lane) -> DirectRoutes:
    return lane._routes
