"""Ray Serve's tracing hook, and the last flush.

Ray owns the tracer provider and calls `span_processors` once in each replica, before the deployment
is created; ``RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH`` names it, see `serve_app.environment`.
"""

import logging
import os
import threading
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from ray.serve import metrics

from serve_app.environment import NO_EXPORTER, TRACING_IMPORT_PATH, exporter_name
from serve_app.telemetry.logs import LOGGER_NAME, configure_logging
from serve_app.tracing.delivery import (
    FailureReporter,
    ObservedProcessor,
    SpanObserver,
    SpanOutcome,
)
from serve_app.tracing.exporters import (
    EXPORT_SECONDS,
    LazyExporter,
    UnusableExporter,
    make_exporter,
)
from serve_app.tracing.failures import ExporterError, ExportFailure

MAKER = "span-exporter"
"""Thread that makes an exporter which connects, so that the start need not wait for it."""
FLUSH_SECONDS = EXPORT_SECONDS + 1.0


def span_processors() -> list[SpanProcessor]:
    """Span processors for Ray Serve's tracer provider, as the environment asks for them.

    An exporter that cannot be made is logged with its fix, at the start and whenever spans are
    lost because of it; the service keeps answering.
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
    if isinstance(exporter, LazyExporter):
        maker = threading.Thread(
            name=MAKER, target=_make_ahead, args=(exporter, logger), daemon=True
        )
        maker.start()
    count = _span_counter()
    report = FailureReporter(logger)

    def observe(outcome: SpanOutcome, spans: int, failure: ExportFailure | None) -> None:
        report(outcome, spans, failure)
        count(outcome, spans, failure)

    return [ObservedProcessor(exporter, observe)]


def _make_ahead(exporter: LazyExporter, logger: logging.Logger) -> None:
    """Say before the first span what keeps spans from being exported."""
    try:
        exporter.make()
    except ExporterError as error:
        logger.error("spans will be lost: %s", error)


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
    """Export what is queued; called when the last request has been answered.

    Returns:
        False if the exporter did not take the spans in time; the shutdown then goes on, and the
        log says so.
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
