"""Ray Serve's tracing hook, and the last flush.

Ray owns the tracer provider and calls `span_processors` once in each replica, before the deployment
is created; ``RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH`` names it, see `serve_app.environment`.
"""

import logging
import os
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from ray.serve import metrics

from serve_app.environment import NO_EXPORTER, TRACING_IMPORT_PATH, exporter_name
from serve_app.telemetry.logs import LOGGER_NAME, configure_logging
from serve_app.tracing.delivery import FailureReporter, SpanObserver, SpanOutcome
from serve_app.tracing.exporters import EXPORT_SECONDS
from serve_app.tracing.failures import ExportFailure
from serve_app.tracing.relay import Relay, RelayProcessor, relay_of_process

FLUSH_SECONDS = EXPORT_SECONDS + 1.0
END_SECONDS = 1.0
"""For the exporting process to end when it has nothing left to do."""


def span_processors() -> list[SpanProcessor]:
    """Span processors for Ray Serve's tracer provider, as the environment asks for them.

    An exporter that cannot be made is logged with its fix, at the start and whenever spans are
    lost because of it; the service keeps answering.
    """
    logger = configure_logging()
    is_off = os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true"
    if is_off or exporter_name(os.environ) == NO_EXPORTER:
        return []
    count = _span_counter()
    report = FailureReporter(logger)

    def observe(outcome: SpanOutcome, spans: int, failure: ExportFailure | None) -> None:
        report(outcome, spans, failure)
        if spans:
            count(outcome, spans, failure)

    def unusable(failure: ExportFailure) -> None:
        logger.error("spans will be lost: %s", failure)

    return [RelayProcessor(Relay(observe, unusable))]


def check_hook(environment: Mapping[str, str], logger: logging.Logger) -> None:
    """Log an error if an exporter is named but Ray was not told of `span_processors`.

    Plain ``serve run`` knows nothing of ``OTEL_TRACES_EXPORTER``.
    """
    name = exporter_name(environment)
    if name != NO_EXPORTER and not isinstance(trace.get_tracer_provider(), TracerProvider):
        logger.error(
            "OTEL_TRACES_EXPORTER=%s has no effect, no span is made; fix: serve with "
            "`serve-app serve`, or set RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH=%s before Ray "
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

    def count(outcome: SpanOutcome, spans: int, _failure: ExportFailure | None) -> None:
        counter.inc(spans, {"outcome": outcome})

    return count


def flush(timeout_seconds: float = FLUSH_SECONDS) -> bool:
    """Export what is queued and end the export; called when the last request has been answered.

    Returns:
        False if it is not known in time that the spans were exported; the shutdown then goes on,
        and the log says so.
    """
    relay = relay_of_process()
    if relay is None:
        return True
    if relay.flush(timeout_seconds):
        # Ray kills it with the replica, which would look like a failure.
        relay.close(END_SECONDS)
        return True
    logging.getLogger(LOGGER_NAME).error(
        "the last spans are lost: the exporter did not take them within %s s", timeout_seconds
    )
    return False
