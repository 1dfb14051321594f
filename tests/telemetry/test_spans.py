"""The span of a prediction, and the request's span that it is in."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import StatusCode

from serve_app.inference import ModelCallError
from serve_app.model.card import ModelCard
from serve_app.telemetry.plain_spans import PlainContext, PlainSpan
from serve_app.telemetry.spans import PredictionTracer, current_parent, within
from serve_app.tracing.conversion import Sdk
from tests.support.model_calls import call_of

PARENT = PlainContext(trace_id=0xA, span_id=0xB, flags=1, state="vendor=1")


def failed_call() -> ModelCallError:
    failure = ModelCallError(start_ns=1_000, end_ns=3_000, batch_rows=5)
    failure.__cause__ = ValueError("overflow")
    return failure


@pytest.fixture
def spans() -> list[PlainSpan]:
    """What the tracer records."""
    return []


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    """As Ray makes it."""
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    yield provider
    provider.shutdown()


def test_span_of_one_row(card: ModelCard, spans: list[PlainSpan]) -> None:
    """A sampled prediction has a span of the model call's own times under the request's span."""
    PredictionTracer(card, "onnx", spans.append).record(call_of("setosa"), PARENT, "v2")
    span = Sdk().readable(*spans)
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    assert parent is not None
    assert span.name == "model_prediction"
    assert (context.trace_id, context.trace_flags) == (PARENT.trace_id, PARENT.flags)
    assert context.trace_state.to_header() == PARENT.state
    assert (parent.trace_id, parent.span_id) == (PARENT.trace_id, PARENT.span_id)
    assert not parent.is_remote
    assert (span.start_time, span.end_time) == (1_000, 1_500)
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "model.name": card.name,
        "model.version": card.version,
        "model.engine": "onnx",
        "request.protocol": "v2",
        "model.rows": 1,
        "model.batch_size": 1,
        "predicted_class": "setosa",
    }


def test_span_of_many_rows(card: ModelCard, spans: list[PlainSpan]) -> None:
    """A batch request has one span, with each class once and how often it was predicted."""
    PredictionTracer(card, "sklearn", spans.append).record(
        call_of(0, 2, 0, batch_rows=17), PARENT, "v2"
    )
    attributes = dict(Sdk().readable(*spans).attributes or {})
    assert attributes["predicted_class"] == ("0", "2")
    assert attributes["predicted_class_counts"] == (2, 1)
    assert (attributes["model.rows"], attributes["model.batch_size"]) == (3, 17)


def test_span_of_a_failure(card: ModelCard, spans: list[PlainSpan]) -> None:
    """A model call that raised has a span as long as the call, with the exception."""
    tracer = PredictionTracer(card, "onnx", spans.append)
    tracer.record_failure(failed_call(), 2, PARENT, "v2")
    span = Sdk().readable(*spans)
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "overflow"
    assert [(event.name, event.timestamp) for event in span.events] == [("exception", 3_000)]
    attributes = dict(span.attributes or {})
    assert (attributes["error.type"], attributes["model.rows"]) == ("ValueError", 2)
    assert attributes["model.batch_size"] == 5
    assert (span.start_time, span.end_time) == (1_000, 3_000)


def test_spans_have_ids_of_their_own(card: ModelCard, spans: list[PlainSpan]) -> None:
    """Also those of one model call."""
    tracer = PredictionTracer(card, "onnx", spans.append)
    for _ in range(2):
        tracer.record(call_of("setosa"), PARENT, "v2")
    first, second = map(Sdk().readable, spans)
    assert first.get_span_context() != second.get_span_context()


def test_no_span_for_an_unsampled_request(card: ModelCard, spans: list[PlainSpan]) -> None:
    """Without a request's span, or without anything that takes spans, none is made."""
    for put, parent in ((spans.append, None), (None, PARENT)):
        tracer = PredictionTracer(card, "onnx", put)
        tracer.record(call_of("setosa"), parent, "v2")
        tracer.record_failure(failed_call(), 1, parent, "v2")
    assert spans == []


def test_the_parent_is_the_span_that_ray_has_made(provider: TracerProvider) -> None:
    """With all that its children need; a request that is not sampled has none."""
    assert current_parent() is None
    with provider.get_tracer("ray").start_as_current_span("request") as request:
        context = request.get_span_context()
        parent = current_parent()
    assert parent == PlainContext(
        context.trace_id, context.span_id, int(context.trace_flags), state=""
    )
    unsampled = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("ray")
    with unsampled.start_as_current_span("request"):
        assert current_parent() is None


def test_what_happens_within_a_span_knows_it() -> None:
    """Log lines ask OpenTelemetry for the current span; outside of one it is what it was."""
    with within(PARENT):
        context = trace.get_current_span().get_span_context()
        assert (context.trace_id, context.span_id) == (PARENT.trace_id, PARENT.span_id)
        assert context.trace_flags.sampled
    with within(None):
        assert not trace.get_current_span().get_span_context().is_valid
