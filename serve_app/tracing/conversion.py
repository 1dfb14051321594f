"""The SDK's spans as plain ones, and plain ones as the SDK's."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from serve_app.telemetry.plain_spans import PlainEvent, PlainSpan

MAX_STATE = 512
"""Characters of a tracestate that the SDK's propagator reads; it ignores a longer one."""


def plain(span: ReadableSpan) -> PlainSpan:
    """A finished span of the SDK as a plain one. Links are left out: nothing here makes any.

    Raises:
        ValueError: the span is not finished.
    """
    context, parent, scope = span.get_span_context(), span.parent, span.instrumentation_scope
    if context is None or span.start_time is None or span.end_time is None:
        raise ValueError(f"span {span.name} is not finished")
    events = [(event.name, event.timestamp, dict(event.attributes or {})) for event in span.events]
    return (
        span.name,
        scope.name if scope else "",
        (scope.version or "") if scope else "",
        span.kind.value,
        context.trace_id,
        context.span_id,
        int(context.trace_flags),
        context.trace_state.to_header(),
        parent and (parent.span_id, parent.is_remote),
        span.start_time,
        span.end_time,
        (dict(span.attributes or {}),),
        tuple(events),
        span.status.status_code.value,
        span.status.description,
    )


class Sdk:
    """Makes the SDK's spans, with the resource and the limits of this process's environment."""

    def __init__(self) -> None:
        self._resource = Resource.create({})
        self._limits = SpanLimits()
        self._scopes: dict[tuple[str, str], InstrumentationScope] = {}

    def readable(self, span: PlainSpan) -> ReadableSpan:
        """A plain span as one that exporters take."""
        (
            name,
            scope,
            version,
            kind,
            trace_id,
            span_id,
            flags,
            state,
            parent,
            start_ns,
            end_ns,
            parts,
            events,
            status,
            description,
        ) = span
        trace_flags, trace_state = TraceFlags(flags), _state(state)
        attributes: dict[str, Any] = {}
        for part in parts:
            attributes.update(part)
        return ReadableSpan(
            name,
            SpanContext(trace_id, span_id, False, trace_flags, trace_state),  # noqa: FBT003
            parent and SpanContext(trace_id, *parent, trace_flags, trace_state),
            self._resource,
            self._bounded(attributes),
            [self._event(event) for event in events],
            kind=SpanKind(kind),
            status=Status(StatusCode(status), description),
            start_time=start_ns,
            end_time=end_ns,
            instrumentation_scope=self._scope(scope, version),
        )

    def _event(self, event: PlainEvent) -> Event:
        name, time_ns, attributes = event
        limits = self._limits
        bounded = BoundedAttributes(
            limits.max_event_attributes, attributes, max_value_len=limits.max_attribute_length
        )
        return Event(name, bounded, time_ns)

    def _bounded(self, attributes: Mapping[str, Any]) -> BoundedAttributes:
        limits = self._limits
        return BoundedAttributes(
            limits.max_span_attributes, attributes, max_value_len=limits.max_span_attribute_length
        )

    def _scope(self, name: str, version: str) -> InstrumentationScope:
        # Exporters group spans by it, and it is compared quicker when it is the same one.
        found = self._scopes.get((name, version))
        if found is None:
            found = self._scopes[name, version] = InstrumentationScope(name, version)
        return found


def _state(header: str) -> TraceState | None:
    """As the SDK's propagator reads the header."""
    return TraceState.from_header([header]) if 0 < len(header) <= MAX_STATE else None
