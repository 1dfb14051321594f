"""The span of a request that is answered without Serve, against one of the SDK's."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanContext, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serve_app.ray_internals.request_spans import TRACER, ServeSpan
from serve_app.telemetry.plain_spans import PlainSpan
from serve_app.tracing.conversion import Sdk
from serve_app.tracing.requests import RequestSpans
from serve_app.tracing.sampling import caller_of

SERVE = ServeSpan("replica_handle_request Classifier __call__", {"route": "/"})
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"


def of_sdk(headers: dict[str, str]) -> Any:
    """The span that Ray's tracer makes of a request with ``headers``."""
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    context = TraceContextTextMapPropagator().extract(headers)
    return provider.get_tracer(TRACER).start_span(SERVE.name, context, SpanKind.SERVER)


def shape(context: SpanContext) -> tuple[int, bool, str]:
    """What is not drawn at random."""
    return context.trace_flags, context.is_remote, context.trace_state.to_header()


@pytest.mark.parametrize("flags", ["1", "3", None])
@pytest.mark.parametrize("state", ["vendor=1", ""])
def test_it_is_like_serves(flags: str | None, state: str) -> None:
    """Ids, flags, state, parent, kind and maker; the times are those of the request."""
    spans: list[PlainSpan] = []
    parent = None if flags is None else CALLER + flags
    headers = {} if parent is None else {"traceparent": parent}
    expected = of_sdk(headers | ({"tracestate": state} if state else {}))
    caller = caller_of(parent.encode() if parent else None)
    begun = RequestSpans(SERVE, spans.append).begin("mine", caller, state)
    begun.end(422)
    found = Sdk().readable(*spans)
    context = found.get_span_context()
    assert context is not None
    assert shape(context) == shape(expected.get_span_context())
    assert (context.trace_id, context.span_id) == begun.context[:2]
    if caller is None:
        assert found.parent is expected.parent is None
    else:
        assert found.parent is not None
        assert context.trace_id == expected.get_span_context().trace_id
        assert found.parent.span_id == expected.parent.span_id
        assert shape(found.parent)[1:] == shape(expected.parent)[1:]
    assert (found.name, found.kind) == (expected.name, expected.kind)
    assert found.instrumentation_scope == expected.instrumentation_scope
    assert found.status.status_code is expected.status.status_code
    assert dict(found.attributes or {}) == {
        "route": "/",
        "request_id": "mine",
        "http.status_code": "422",
    }
    assert found.start_time is not None
    assert found.end_time is not None
    assert expected.start_time <= found.start_time <= found.end_time


def test_what_ended_it_early_is_an_event() -> None:
    """As on Serve's way, where the status of the span says nothing of it."""
    spans: list[PlainSpan] = []
    span = RequestSpans(SERVE, spans.append).begin("mine", None, "")
    span.fail(TimeoutError("too late"))
    span.end(408)
    (found,) = [Sdk().readable(each) for each in spans]
    (event,) = found.events
    assert (event.attributes or {})["exception.type"] == "TimeoutError"
    assert found.status.is_unset
