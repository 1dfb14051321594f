"""Spans of the SDK that became plain ones and back are the same."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serve_app.telemetry.plain_spans import PlainSpan
from serve_app.tracing.conversion import MAX_STATE, Sdk, plain

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03"


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    yield provider
    provider.shutdown()


def finished(provider: TracerProvider, headers: dict[str, str]) -> ReadableSpan:
    """A span that has everything that Ray's and ours have."""
    context = TraceContextTextMapPropagator().extract(headers)
    span = provider.get_tracer("ray", "2.60").start_span(
        "request", context, SpanKind.SERVER, {"route": "/", "is_streaming": True, "rows": [1, 2]}
    )
    span.record_exception(ValueError("overflow"), timestamp=5)
    span.set_status(Status(StatusCode.ERROR, "overflow"))
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": CALLER},
        {"traceparent": CALLER, "tracestate": "vendor=1,other=two"},
        {"traceparent": CALLER, "tracestate": "no state"},
        {"traceparent": CALLER, "tracestate": "vendor=" + "x" * MAX_STATE},
    ],
)
def test_there_and_back(provider: TracerProvider, headers: dict[str, str]) -> None:
    """Exporters and people see the same: ids, parent, state, times, attributes, events, status."""
    span = finished(provider, headers)
    back = Sdk().readable(plain(span))
    assert back.to_json() == span.to_json()
    assert back.get_span_context() == span.get_span_context()
    assert (back.parent is None) == (span.parent is None)
    if span.parent is not None and back.parent is not None:
        assert back.parent.span_id == span.parent.span_id
        assert back.parent.is_remote == span.parent.is_remote
    assert back.instrumentation_scope == span.instrumentation_scope


@pytest.mark.parametrize("state", ["vendor=1", "no state", "vendor=" + "x" * MAX_STATE])
def test_a_header_is_read_as_the_sdk_reads_it(state: str) -> None:
    """A tracestate that was taken as it came is dropped if the SDK would have dropped it."""
    headers = {"traceparent": CALLER, "tracestate": state}
    context = TraceContextTextMapPropagator().extract(headers)
    expected = trace.get_current_span(context).get_span_context().trace_state
    span: PlainSpan = ("n", "s", "", 0, 1, 2, 1, state, None, 1, 2, ({},), (), 0, None)
    found = Sdk().readable(span).get_span_context()
    assert found is not None
    assert dict(found.trace_state) == dict(expected)


def test_the_limits_of_the_environment_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """For spans that the SDK has not made, too."""
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")
    event = ("exception", 1, {"exception.stacktrace": "long"})
    parts = ({"a": "long", "b": 1}, {"b": 2})
    span = Sdk().readable(("n", "s", "", 0, 1, 2, 1, "", None, 1, 2, parts, (event,), 0, None))
    assert dict(span.attributes or {}) == {"a": "lon", "b": 2}
    assert dict(span.events[0].attributes or {}) == {"exception.stacktrace": "lon"}


def test_the_resource_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a tracer provider that was given none, which Ray makes."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "iris")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=1.2.3")
    span = Sdk().readable(("n", "s", "", 0, 1, 2, 1, "", None, 1, 2, (), (), 0, None))
    assert span.resource == TracerProvider(shutdown_on_exit=False).resource
    assert span.resource.attributes["service.name"] == "iris"


def test_a_span_under_way_is_refused(provider: TracerProvider) -> None:
    """It has no end."""
    span = provider.get_tracer("test").start_span("under way")
    assert isinstance(span, ReadableSpan)
    with pytest.raises(ValueError, match="under way is not finished"):
        plain(span)
