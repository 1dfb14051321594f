"""Do spans arrive? ``python -m serve_app.tracing check`` sends one and says what became of it."""

import argparse
import os
import sys
from collections.abc import Sequence

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from serve_app.tracing.delivery import ObservedExporter
from serve_app.tracing.exporters import make_exporter
from serve_app.tracing.failures import ExporterError, ExportFailure


def check() -> int:
    """Send one probe span through the configured exporter and print what happened.

    Returns:
        0 if the span arrived or tracing is off by configuration, else 1.
    """
    name = os.environ.get("OTEL_TRACES_EXPORTER") or "none"
    try:
        exporter = make_exporter(os.environ)
    except ExporterError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    if exporter is None:
        print("tracing is off; set OTEL_TRACES_EXPORTER to gcp_trace, otlp or console")
        return 0
    failures: list[ExportFailure | None] = []
    observed = ObservedExporter(exporter, lambda _outcome, _n, failure: failures.append(failure))
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(observed))
    with provider.get_tracer(__name__).start_as_current_span("serve_app_tracing_check") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
    provider.shutdown()
    if not failures:
        print("FAILED: no span is made; fix: unset OTEL_SDK_DISABLED", file=sys.stderr)
        return 1
    (failure,) = failures
    if failure is not None:
        print(f"FAILED: exporter {name}: {failure}", file=sys.stderr)
        return 1
    print(f"OK: exporter {name} took the probe span of trace {trace_id}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m serve_app.tracing", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser(
        "check",
        help="send one probe span through the configured exporter, print what happened and what "
        "to do; exit code 0 or 1",
    )
    parser.parse_args(arguments)
    return check()
