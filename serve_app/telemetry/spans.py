"""The span ``model_prediction`` of each sampled request."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from serve_app.inference import ModelCall, ModelCallError
from serve_app.model.card import Engine, ModelCard
from serve_app.telemetry.logs import LOGGER_NAME
from serve_app.telemetry.plain_spans import (
    ERROR,
    INTERNAL,
    UNSET,
    Attributes,
    PlainContext,
    PlainEvent,
    PlainSpan,
    SpanSink,
    exception_event,
)

SPAN_NAME = "model_prediction"


def current_parent() -> PlainContext | None:
    """The request's span that Ray has made; None if the request is not sampled."""
    # Ray sets a current span for sampled requests only; all others cost one look-up.
    span = trace.get_current_span()
    if not span.is_recording():
        return None
    context = span.get_span_context()
    state = context.trace_state.to_header()
    return PlainContext(context.trace_id, context.span_id, int(context.trace_flags), state)


@contextmanager
def within(parent: PlainContext | None) -> Iterator[None]:
    """Log lines are joined to the trace of ``parent``, if there is one."""
    if parent is None:
        yield
        return
    context = SpanContext(
        parent.trace_id, parent.span_id, is_remote=False, trace_flags=TraceFlags(parent.flags)
    )
    with trace.use_span(NonRecordingSpan(context)):
        yield


class PredictionTracer:
    """Records the span ``model_prediction`` of each sampled request, after the model call.

    Args:
        card: the model's.
        engine: what predicts.
        put: takes the spans; None if nothing is traced.
    """

    def __init__(self, card: ModelCard, engine: Engine, put: SpanSink | None) -> None:
        self._put = put
        self._attributes: Attributes = {
            "model.name": card.name,
            "model.version": card.version,
            "model.engine": engine,
        }
        self._describe = card.task.span_attributes

    def record(self, call: ModelCall, parent: PlainContext | None, protocol: str) -> None:
        """Record a span that begins and ends with the model call.

        Args:
            call: what the model answered.
            parent: the request's span; None if the request is not sampled.
            protocol: name of the protocol of the request.
        """
        if parent is None or self._put is None:
            return
        values = call.prediction.values
        attributes = {
            "request.protocol": protocol,
            "model.rows": len(values),
            "model.batch_size": call.batch_rows,
            **self._describe(values),
        }
        self._put(_span(parent, call, (self._attributes, attributes)))

    def record_failure(
        self, failure: ModelCallError, rows: int, parent: PlainContext | None, protocol: str
    ) -> None:
        """Record a span of a model call that raised, with the exception; see `record`."""
        if parent is None or self._put is None:
            return
        cause = failure.__cause__ or failure
        attributes = {
            "request.protocol": protocol,
            "model.rows": rows,
            "model.batch_size": failure.batch_rows,
            "error.type": type(cause).__qualname__,
        }
        events = (exception_event(cause, failure.end_ns),)
        both = (self._attributes, attributes)
        self._put(_span(parent, failure, both, events, str(cause)))


def _span(
    parent: PlainContext,
    call: ModelCall | ModelCallError,
    attributes: tuple[Attributes, Attributes],
    events: tuple[PlainEvent, ...] = (),
    error: str | None = None,
) -> PlainSpan:
    return (
        SPAN_NAME,
        LOGGER_NAME,
        "",
        INTERNAL,
        parent.trace_id,
        random.getrandbits(64),
        parent.flags,
        parent.state,
        (parent.span_id, False),
        call.start_ns,
        call.end_ns,
        attributes,
        events,
        UNSET if error is None else ERROR,
        error,
    )
