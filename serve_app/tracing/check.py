"""Do spans arrive? Send one through the configured exporter and say what happened."""

import os
import threading

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from serve_app.environment import EXPORTER_VARIABLE, exporter_name
from serve_app.errors import CheckFailedError
from serve_app.tracing.delivery import ObservedExporter
from serve_app.tracing.exporters import MAKERS, make_exporter
from serve_app.tracing.failures import ExporterError, ExportFailure

SPAN_TAKEN = "OK:"
"""How the line begins when an exporter took the span."""
CHECK_SECONDS = 20.0
"""Longer than Google's library looks for credentials, which takes 13 s without an answer."""
TRACING_IS_OFF = f"tracing is off; set {EXPORTER_VARIABLE} to one of {', '.join(MAKERS)}"


class TracingOffError(CheckFailedError):
    """No exporter is configured, so that no span can arrive."""


class SpanLostError(CheckFailedError):
    """The probe span did not arrive: names the cause and the fix."""


def check() -> str:
    """Send one probe span through the configured exporter.

    Returns:
        That the exporter took the span.

    Raises:
        TracingOffError: there is no exporter.
        SpanLostError: the span did not arrive.
    """
    try:
        exporter = make_exporter(os.environ)
    except ExporterError as error:
        raise SpanLostError(str(error)) from error
    if exporter is None:
        raise TracingOffError(TRACING_IS_OFF)
    name = exporter_name(os.environ)
    failures: list[ExportFailure | None] = []
    observed = ObservedExporter(exporter, lambda _outcome, _n, failure: failures.append(failure))
    trace_ids: list[str] = []
    # A thread, because name servers and libraries have time limits of minutes, or none.
    sender = threading.Thread(target=lambda: trace_ids.append(_send_span(observed)), daemon=True)
    sender.start()
    sender.join(CHECK_SECONDS)
    if sender.is_alive():
        raise SpanLostError(
            f"exporter {name}: no answer within {CHECK_SECONDS:.0f} s; fix: check name resolution, "
            "and that nothing drops packets to the exporter's server and, on Google Cloud, to the "
            "metadata server (NetworkPolicy, firewall rules)"
        )
    if not failures:
        raise SpanLostError("no span is made; fix: unset OTEL_SDK_DISABLED")
    (failure,) = failures
    if failure is not None:
        raise SpanLostError(f"exporter {name}: {failure}")
    return f"{SPAN_TAKEN} exporter {name} took the probe span of trace {trace_ids[0]}"


def _send_span(exporter: ObservedExporter) -> str:
    """Make and export one span; returns the id of its trace."""
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer(__name__).start_as_current_span("serve_app_tracing_check") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
    provider.shutdown()
    return trace_id
