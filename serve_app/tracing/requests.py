"""Spans of requests that are answered without Serve: as Serve makes them, without the SDK."""

import random
import time

from serve_app.ray_internals.request_spans import REQUEST_ID, TRACER, ServeSpan
from serve_app.telemetry.plain_spans import (
    SERVER,
    UNSET,
    PlainContext,
    PlainEvent,
    SpanSink,
    exception_event,
)
from serve_app.tracing.sampling import RANDOM, SAMPLED, Caller


class RequestSpans:
    """Makes them.

    Args:
        serve: what they have in common.
        put: takes them when they end.
    """

    def __init__(self, serve: ServeSpan, put: SpanSink) -> None:
        self.serve = serve
        self.put = put

    def begin(self, request_id: str, caller: Caller | None, state: str) -> "RequestSpan":
        """Begin the span of a sampled request, now.

        Args:
            request_id: that of its answer.
            caller: whose span it is within; None for the first span of a trace.
            state: the header tracestate, which counts only with a caller.
        """
        return RequestSpan(self, request_id, caller, state)


class RequestSpan:
    """The span of a request under way."""

    __slots__ = ("_event", "_parent", "_request_id", "_spans", "_start_ns", "context")

    def __init__(
        self, spans: RequestSpans, request_id: str, caller: Caller | None, state: str
    ) -> None:
        self._spans = spans
        self._request_id = request_id
        self._event: PlainEvent | None = None
        self._start_ns = time.time_ns()
        span_id = random.getrandbits(64)
        if caller is None:
            self._parent = None
            trace_id, flags = random.getrandbits(128), SAMPLED | RANDOM
            self.context = PlainContext(trace_id, span_id, flags, "")
        else:
            self._parent = (caller.span_id, True)
            flags = SAMPLED | (caller.flags & RANDOM)
            self.context = PlainContext(caller.trace_id, span_id, flags, state)

    def fail(self, error: BaseException) -> None:
        """Record what has ended the request early."""
        self._event = exception_event(error, time.time_ns())

    def end(self, status: int | str) -> None:
        """End it now; ``status`` is that of the answer."""
        serve, (trace_id, span_id, flags, state) = self._spans.serve, self.context
        self._spans.put(
            (
                serve.name,
                TRACER,
                "",
                SERVER,
                trace_id,
                span_id,
                flags,
                state,
                self._parent,
                self._start_ns,
                time.time_ns(),
                (serve.attributes, {REQUEST_ID: self._request_id, serve.status: str(status)}),
                () if self._event is None else (self._event,),
                UNSET,
                None,
            )
        )
