"""Usual predictions are answered before Serve's path; all others go that way, as they are."""

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.types import Message, Receive, Scope, Send

from serve_app.http import direct, ongoing
from serve_app.http.direct import DirectPath, DirectRoutes
from serve_app.http.routes import Answer, Routes
from serve_app.ray_internals.direct_ingress import ReplicaBooks
from serve_app.ray_internals.request_spans import ServeSpan
from serve_app.telemetry.logs import LOGGER_NAME, JsonFormatter
from serve_app.telemetry.plain_spans import PlainContext, PlainSpan
from serve_app.tracing.requests import RequestSpans
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

    def __init__(
        self,
        routes: DirectRoutes,
        sampling: Sampling | None = None,
        spans: RequestSpans | None = None,
    ) -> None:
        self.books, self.serve = Books(), ServesWay()
        self._routes, self._sampling, self._spans = routes, sampling, spans

    def make(self) -> DirectPath:
        books = cast(ReplicaBooks, self.books)
        return DirectPath(self.serve, books, self._routes, self._sampling, self._spans)

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

    async def predict(self, path: str, body: bytes, parent: PlainContext | None) -> Answer:
        del path, body, parent
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
        (0, "nonsense", False),
        (1, UNTRACED, False),
    ],
)
def test_what_is_decided_holds_on_serves_way(
    routes: Routes, ratio: float, traceparent: str | None, *, is_traced: bool
) -> None:
    """A request that goes there is traced as its caller says, or as the ratio wants it."""
    headers = {} if traceparent is None else {"traceparent": traceparent}
    lane = Lane(routes, Ratio(ratio))
    assert lane(headers, path="/model")[0] == SERVES_WAY
    expected = [value.encode() for value in headers.values()]
    if not is_traced and traceparent != UNTRACED:
        expected.append(NOT_SAMPLED)
    assert lane.serve.traceparents == expected


@pytest.mark.parametrize(("traceparent", "status"), [(TRACED, SERVES_WAY), (UNTRACED, 200)])
def test_serve_makes_the_spans_where_nothing_else_does(
    routes: Routes, traceparent: str, status: int
) -> None:
    """A sampled request goes Serve's way if no relay takes the spans of this one."""
    assert Lane(routes, Ratio(0))({"traceparent": traceparent})[0] == status


SERVE = ServeSpan("replica_handle_request Classifier __call__", {"route": "/"})


@pytest.mark.parametrize(
    ("content", "status", "names"),
    [
        (SETOSA, 200, ["model_prediction", SERVE.name]),
        ({"sepal_length": "long"}, 422, [SERVE.name]),
    ],
)
def test_a_sampled_request_has_its_spans(
    iris: Path, content: Any, status: int, names: list[str]
) -> None:
    """One of the model call within that of the request, within the caller's; of a refusal one."""
    spans: list[PlainSpan] = []
    routes = make_routes(iris, spans=spans.append)
    lane = Lane(routes, Ratio(0), RequestSpans(SERVE, spans.append))
    body = json.dumps(content).encode()
    headers = {
        "content-length": str(len(body)),
        "traceparent": TRACED,
        "tracestate": "vendor=1",
        "x-request-id": "mine",
    }
    assert lane(headers, [body])[0] == status
    assert [span[0] for span in spans] == names
    request = spans[-1]
    assert {span[4] for span in spans} == {int("a" * 32, 16)}
    assert {span[7] for span in spans} == {"vendor=1"}
    assert request[8] == (int("b" * 16, 16), True)
    assert [span[8] for span in spans[:-1]] == [(request[5], False)] * (len(spans) - 1)
    own = {"request_id": "mine", "http.status_code": str(status)}
    assert request[11] == (SERVE.attributes, own)
    assert lane.serve.scopes == []


def test_a_sampled_request_without_a_caller_begins_a_trace(iris: Path) -> None:
    """Of its own, and not the same one twice; an unsampled one has no span at all."""
    spans: list[PlainSpan] = []
    routes = make_routes(iris, spans=spans.append)
    sampling = Ratio(1)
    lane = Lane(routes, sampling, RequestSpans(SERVE, spans.append))
    for _ in range(2):
        assert lane({"tracestate": "vendor=1"})[0] == 200
    requests = [span for span in spans if span[0] == SERVE.name]
    assert [(span[7], span[8]) for span in requests] == [("", None)] * 2
    assert requests[0][4] != requests[1][4]
    sampling.ratio = 0
    assert lane()[0] == 200
    assert len(spans) == 4


def test_the_log_of_a_sampled_request_names_its_trace(
    iris: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of ours is joined to its span, which exists on this way as numbers only."""
    spans: list[PlainSpan] = []
    lines: list[dict[str, Any]] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    routes = make_routes(iris, spans=spans.append)
    monkeypatch.setattr(routes._metrics, "record", None)
    logger, handler = logging.getLogger(LOGGER_NAME), Lines()
    logger.addHandler(handler)
    try:
        lane = Lane(routes, Ratio(0), RequestSpans(SERVE, spans.append))
        assert lane({"traceparent": TRACED})[0] == 500
    finally:
        logger.removeHandler(handler)
    (line,) = lines
    assert line["logging.googleapis.com/trace"] == "a" * 32
    assert line["logging.googleapis.com/spanId"] == f"{spans[-1][5]:016x}"
    assert line["logging.googleapis.com/trace_sampled"] is True


def test_requests_are_entered_in_the_books(lane: Lane) -> None:
    """Once a second, in bulk, by status; a request under way is counted as ongoing."""

    async def go() -> None:
        app = lane.make()
        for _ in range(3):
            await lane.ask(app, {}, [BODY])
        await lane.ask(app, {"content-length": "2"}, [b"{}"])
        assert lane.books.entries == []
        app.ongoing.enter()
        assert lane.books.entries == [("POST", 200, 3), ("POST", 422, 1)]
        app.ongoing.enter()
        assert len(lane.books.entries) == 2

    asyncio.run(go())


def test_the_books_are_kept_without_being_asked(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also after an entry that failed, which is logged."""
    monkeypatch.setattr(ongoing, "BOOKS_SECONDS", 0.01)
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
    """As Serve answers it, with the same event in its span; the slot is free again."""
    monkeypatch.setattr(ongoing, "BOOKS_SECONDS", 0.01)
    spans: list[PlainSpan] = []
    lane = Lane(Sluggish())
    lane.books.timeout_seconds = 0.05
    lane._sampling, lane._spans = Ratio(1), RequestSpans(SERVE, spans.append)

    async def go() -> tuple[int, dict[str, str], Any]:
        app = lane.make()
        request = asyncio.create_task(lane.ask(app, {"x-request-id": "mine"}, [BODY]))
        while not request.done():
            await asyncio.sleep(0.01)
            assert lane.books.ongoing == (not request.done())
            app.ongoing.enter()
        return await request

    status, headers, answer = asyncio.run(go())
    assert (status, headers["x-request-id"]) == (408, "mine")
    assert answer == {"detail": "Request mine timed out after 0.05s."}
    ((*_, (_, own), (event,), _status, _description),) = spans
    assert own == {"request_id": "mine", "http.status_code": "408"}
    assert event[2]["exception.type"] == "asyncio.exceptions.CancelledError"
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

    app = DirectPath(serve, cast(ReplicaBooks, lane.books), make_routes_of(lane), None, None)
    asyncio.run(app({"type": "websocket", "headers": []}, nothing, nothing))
    assert len(asked) == 1


def make_routes_of(lane: Lane) -> DirectRoutes:
    return lane._routes
