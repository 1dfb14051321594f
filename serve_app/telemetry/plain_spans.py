"""Finished spans as plain tuples, which cost little to make and nothing to hand to a process.

`serve_app.tracing` exports them: it makes the SDK's spans of them in another process.
"""

import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Attributes = Mapping[str, Any]
PlainEvent = tuple[str, int, Attributes]
"""Name, nanoseconds since the epoch, attributes."""
PlainSpan = tuple[
    str,  # name
    str,  # instrumentation scope: who has made it
    str,  # version of that scope
    int,  # kind, as OpenTelemetry's SpanKind numbers it
    int,  # trace id, 128 bits
    int,  # span id, 64 bits
    int,  # trace flags
    str,  # the header tracestate
    tuple[int, bool] | None,  # parent: span id, and whether it is another service's
    int,  # start, nanoseconds since the epoch
    int,  # end
    tuple[Attributes, ...],  # a later one wins; what spans share is written once for a batch
    tuple[PlainEvent, ...],
    int,  # status, as OpenTelemetry's StatusCode numbers it
    str | None,  # description of the status
]
"""Exact tuples, dictionaries and scalars only: `marshal` takes no subclasses."""

SpanSink = Callable[[PlainSpan], None]
"""Takes finished spans."""

SERVER, INTERNAL = 1, 0
"""Numbers of OpenTelemetry's SpanKind."""
UNSET, ERROR = 0, 2
"""Numbers of OpenTelemetry's StatusCode."""


class PlainContext(NamedTuple):
    """Where a span is: what its children need to know."""

    trace_id: int
    span_id: int
    flags: int
    state: str
    """The header tracestate."""


def exception_event(error: BaseException, time_ns: int) -> PlainEvent:
    """The event that the SDK's ``record_exception`` adds to a span."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = f"{kind.__module__}.{name}"
    attributes = {
        "exception.type": name,
        "exception.message": str(error),
        "exception.stacktrace": "".join(traceback.format_exception(error)),
        "exception.escaped": "False",
    }
    return "exception", time_ns, attributes
