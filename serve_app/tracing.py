"""Ray Serve's tracing hook, the last flush, and a check that spans arrive.

Ray calls `span_processors` once in each replica, before the deployment is made, and owns the
tracer provider; set ``RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH=serve_app.tracing:span_processors``.
"""

import argparse
import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from ray.serve import metrics

from serve_app.delivery import (
    FailureReporter,
    ObservedExporter,
    ObservedProcessor,
    Outcome,
    SpanObserver,
)
from serve_app.environment import TRACING_IMPORT_PATH
from serve_app.export_failures import ExporterError, ExportFailure
from serve_app.exporters import EXPORT_SECONDS, UnusableExporter, make_exporter
from serve_app.telemetry import LOGGER_NAME, configure_logging

FLUSH_SECONDS = EXPORT_SECONDS + 1.0


def span_processors() -> list[SpanProcessor]:
    """Span processors for Ray Serve's tracer provider, as the environment asks for them.

    An exporter that cannot be made is logged with its fix, at once and while spans are lost for it;
    serving goes on.
    """
    logger = configure_logging()
    exporter: SpanExporter | None
    try:
        exporter = make_exporter(os.environ)
    except ExporterError as error:
        logger.error("spans will be lost: %s", error)
        exporter = UnusableExporter(error)
    if exporter is None:
        return []
    count = _span_counter()
    report = FailureReporter(logger)

    def observe(outcome: Outcome, spans: int, failure: ExportFailure | None) -> None:
        report(outcome, spans, failure)
        count(outcome, spans, failure)

    return [ObservedProcessor(exporter, observe)]


def check_hook(environment: Mapping[str, str], logger: logging.Logger) -> None:
    """Log an error if an exporter is named but Ray was not told of `span_processors`.

    Plain ``serve run`` knows nothing of ``OTEL_TRACES_EXPORTER``.
    """
    name = environment.get("OTEL_TRACES_EXPORTER", "") or "none"
    if name != "none" and not isinstance(trace.get_tracer_provider(), TracerProvider):
        logger.error(
            "OTEL_TRACES_EXPORTER=%s has no effect, no span is made; fix: serve with "
            "`python -m serve_app`, or set RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH=%s before Ray "
            "starts",
            name,
            TRACING_IMPORT_PATH,
        )


def _span_counter() -> SpanObserver:
    counter = metrics.Counter(
        "serve_app_spans",
        description="Spans by what became of them: exported, failed or dropped.",
        tag_keys=("outcome",),
    )

    def count(outcome: Outcome, spans: int, _failure: ExportFailure | None) -> None:
        counter.inc(spans, {"outcome": outcome})

    return count


def flush(timeout_seconds: float = FLUSH_SECONDS) -> bool:
    """Export what is queued; called when the last request has been answered.

    Returns:
        False if the exporter did not take the spans in time; a shutdown does not wait for it, but
        says so in the log.
    """
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return True
    # The SDK ignores the timeout of force_flush: https://github.com/open-telemetry/
    # opentelemetry-python/issues/4568.
    flusher = threading.Thread(target=provider.force_flush, daemon=True)
    flusher.start()
    flusher.join(timeout_seconds)
    if flusher.is_alive():
        logging.getLogger(LOGGER_NAME).error(
            "the last spans are lost: the exporter did not take them within %s s", timeout_seconds
        )
        return False
    return True


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


if __name__ == "__main__":
    sys.exit(main())
