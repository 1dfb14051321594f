"""Spans, metrics and log lines of predictions, with the real OpenTelemetry SDK."""

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import SpanContext, StatusCode, TraceFlags

from serve_app.inference import ModelCall, ModelCallError
from serve_app.model.artifact import Artifact
from serve_app.model.card import Label, ModelCard
from serve_app.model.predictor import Prediction
from serve_app.telemetry import JsonFormatter, PredictionMetrics, PredictionTracer

TRACE_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736
SPAN_ID = 0x00F067AA0BA902B7


def call_of(*labels: Label, start_ns: int = 1_000, batch_rows: int | None = None) -> ModelCall:
    return ModelCall(
        Prediction(list(labels), None), start_ns, start_ns + 500, batch_rows or len(labels)
    )


def failed_call() -> ModelCallError:
    failure = ModelCallError(start_ns=1_000, end_ns=3_000, batch_rows=5)
    failure.__cause__ = ValueError("overflow")
    return failure


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TracerProvider]:
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield provider
    provider.shutdown()


@pytest.fixture
def card(iris: Any) -> ModelCard:
    return Artifact.open(iris).card


def test_span_of_one_row(
    card: ModelCard, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    """A sampled prediction has a span of the model call's own times under the request's span."""
    tracer = PredictionTracer(card, "onnx")
    with provider.get_tracer("ray").start_as_current_span("request") as request:
        tracer.record(call_of("setosa"))
    span = exporter.get_finished_spans()[0]
    assert span.name == "model_prediction"
    assert span.parent == request.get_span_context()
    assert (span.start_time, span.end_time) == (1_000, 1_500)
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "model.name": card.name,
        "model.version": card.version,
        "model.engine": "onnx",
        "model.rows": 1,
        "model.batch_size": 1,
        "predicted_class": "setosa",
    }


def test_span_of_many_rows(
    card: ModelCard, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    """A batch request has one span, with each class once and how often it was predicted."""
    tracer = PredictionTracer(card, "sklearn")
    with provider.get_tracer("ray").start_as_current_span("request"):
        tracer.record(call_of(0, 2, 0, batch_rows=17))
    attributes = dict(exporter.get_finished_spans()[0].attributes or {})
    assert attributes["predicted_class"] == ("0", "2")
    assert attributes["predicted_class_counts"] == (2, 1)
    assert (attributes["model.rows"], attributes["model.batch_size"]) == (3, 17)


def test_span_of_a_failure(
    card: ModelCard, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    """A model call that raised has a span as long as the call, with the exception."""
    tracer = PredictionTracer(card, "onnx")
    with provider.get_tracer("ray").start_as_current_span("request"):
        tracer.record_failure(failed_call(), rows=2)
    span = exporter.get_finished_spans()[0]
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "overflow"
    assert [event.name for event in span.events] == ["exception"]
    attributes = dict(span.attributes or {})
    assert (attributes["error.type"], attributes["model.rows"]) == ("ValueError", 2)
    assert attributes["model.batch_size"] == 5
    assert (span.start_time, span.end_time) == (1_000, 3_000)


def test_no_span_for_an_unsampled_request(
    card: ModelCard, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    """A request that is not sampled, or not traced at all, makes no span."""
    tracer = PredictionTracer(card, "onnx")
    tracer.record(call_of("setosa"))
    unsampled = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("ray")
    with unsampled.start_as_current_span("request"):
        tracer.record(call_of("setosa"))
        tracer.record_failure(failed_call(), rows=1)
    assert exporter.get_finished_spans() == ()


class Recorded:
    """Increments of Ray's counters, by name and tags."""

    def __init__(self) -> None:
        self.total: dict[tuple[str, ...], float] = {}

    def add(self, counter: Any, value: float, tags: dict[str, str]) -> None:
        key = (counter.info["name"], *tags.values(), *counter.info["default_tags"].values())
        self.total[key] = self.total.get(key, 0) + value


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    from ray.serve import metrics

    recorded = Recorded()

    def inc(counter: Any, value: float, tags: dict[str, str]) -> None:
        recorded.add(counter, value, tags)

    monkeypatch.setattr(metrics.Counter, "inc", inc)
    return recorded


def count(counts: PredictionMetrics, *requests: tuple[ModelCall, list[str]]) -> None:
    """Count requests and hand them to Ray, twice: what was handed on is not handed on again."""

    async def main() -> None:
        for call, out_of_range in requests:
            counts.record(call, out_of_range)
        counts.flush()
        counts.flush()

    asyncio.run(main())


def test_metrics(recorded: Recorded) -> None:
    """Rows by class, model calls by size and out-of-range requests reach Ray when flushed."""
    count(
        PredictionMetrics("onnx"),
        (call_of("setosa", start_ns=1), []),
        (call_of("setosa", "virginica", "setosa", start_ns=2), ["petal width"]),
        (call_of(*["setosa"] * 64, start_ns=3), []),
    )
    assert recorded.total == {
        ("serve_app_predictions", "setosa", "onnx"): 67,
        ("serve_app_predictions", "virginica", "onnx"): 1,
        ("serve_app_out_of_range_requests", "petal width"): 1,
        ("serve_app_model_calls", "1", "onnx"): 1,
        ("serve_app_model_calls", "4", "onnx"): 1,
        ("serve_app_model_calls", "64", "onnx"): 1,
    }


def test_micro_batch_is_one_model_call(recorded: Recorded) -> None:
    """Requests that one model call answered count as one call, and each row as a prediction."""
    labels = ("setosa", "virginica", "setosa")
    count(
        PredictionMetrics("sklearn"),
        *((call_of(label, start_ns=7, batch_rows=3), []) for label in labels),
    )
    assert recorded.total == {
        ("serve_app_predictions", "setosa", "sklearn"): 2,
        ("serve_app_predictions", "virginica", "sklearn"): 1,
        ("serve_app_model_calls", "4", "sklearn"): 1,
    }


def test_request_path_makes_no_metric_call(recorded: Recorded) -> None:
    """A request only adds to plain numbers; Ray hears of them once a second."""

    async def main() -> None:
        PredictionMetrics("onnx").record(call_of("setosa"), [])

    asyncio.run(main())
    assert recorded.total == {}


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
