"""Log lines: one JSON object each, joined to the trace of the request."""

import json
import logging
import time
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanContext, TraceFlags

from serve_app.telemetry.logs import JsonFormatter

TRACE_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736
SPAN_ID = 0x00F067AA0BA902B7


def format_record(formatter: JsonFormatter, **extra: Any) -> dict[str, Any]:
    record = logging.LogRecord("serve_app", logging.ERROR, "", 1, "lost %d", (3,), None)
    record.__dict__.update(extra)
    line = formatter.format(record)
    assert "\n" not in line
    entry: dict[str, Any] = json.loads(line)
    return entry


def test_log_line() -> None:
    """A log line is one JSON object with time, severity, message and the fields given."""
    entry = format_record(JsonFormatter(), fields={"fix": "do this"}, created=0.25, msecs=250.0)
    assert entry == {
        "time": "1970-01-01T00:00:00.250Z",
        "severity": "ERROR",
        "logger": "serve_app",
        "message": "lost 3",
        "fix": "do this",
    }


@pytest.mark.parametrize("sampled", [True, False])
def test_log_line_in_a_span(sampled: bool) -> None:
    """While a span is active the line carries the three fields that join it to the trace."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    span = trace.NonRecordingSpan(SpanContext(TRACE_ID, SPAN_ID, is_remote=True, trace_flags=flags))
    with trace.use_span(span):
        entry = format_record(JsonFormatter("my-project"))
    assert (
        entry["logging.googleapis.com/trace"]
        == "projects/my-project/traces/4bf92f3577b34da6a3ce929d0e0e4736"
    )
    assert entry["logging.googleapis.com/spanId"] == "00f067aa0ba902b7"
    assert entry["logging.googleapis.com/trace_sampled"] is sampled


def test_log_line_with_an_exception() -> None:
    """A stack trace stays within its one line."""
    error = ValueError("overflow")
    entry = format_record(JsonFormatter(), exc_info=(type(error), error, None))
    assert entry["exception"].endswith("ValueError: overflow")


def test_log_time_is_utc() -> None:
    """The time of a line is the time of its event, in UTC."""
    before = time.gmtime()
    entry = format_record(JsonFormatter())
    assert time.strptime(entry["time"][:19], "%Y-%m-%dT%H:%M:%S")[:5] in (
        before[:5],
        time.gmtime()[:5],
    )
