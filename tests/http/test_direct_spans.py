"""Sampled requests are traced on the direct path; what is decided holds on Serve's way."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from serve_app.http.routes import Routes
from serve_app.telemetry.logs import LOGGER_NAME, JsonFormatter
from serve_app.telemetry.plain_spans import PlainSpan
from serve_app.tracing.requests import RequestSpans
from serve_app.tracing.sampling import NOT_SAMPLED
from tests.http.lane import SERVE, SERVES_WAY, TRACED, UNTRACED, Lane, Ratio
from tests.support.in_process import make_routes
from tests.support.iris_requests import ROW as SETOSA


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
    monkeypatch.setattr(routes._use_case._metrics, "record", None)
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
