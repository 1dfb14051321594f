"""The span of a prediction, with the real OpenTelemetry SDK."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import StatusCode

from serve_app.inference import ModelCallError
from serve_app.model.card import ModelCard
from serve_app.telemetry.spans import PredictionTracer
from tests.support.model_calls import call_of


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
