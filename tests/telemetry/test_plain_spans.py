"""Plain spans, against what the SDK records."""

import pytest
from opentelemetry.sdk.trace import TracerProvider

from serve_app.telemetry.plain_spans import exception_event


class ModelError(Exception):
    """An exception of a module."""


def raised(error: Exception) -> Exception:
    try:
        raise error from KeyError("why")
    except type(error) as caught:
        return caught


@pytest.mark.parametrize("error", [ValueError("overflow"), ModelError("two\nlines"), OSError()])
def test_an_exception_is_recorded_as_the_sdk_does(error: Exception) -> None:
    """Type, message and stack trace with its cause, as an event at the given time."""
    caught = raised(error)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    span = tracer.start_span("failed")
    span.record_exception(caught, timestamp=3_000)
    (expected,) = span.events  # type: ignore[attr-defined]
    name, time_ns, attributes = exception_event(caught, 3_000)
    assert (name, time_ns) == (expected.name, expected.timestamp)
    assert attributes == dict(expected.attributes)
