"""Delivery of spans: exported, failed or dropped; outcomes are counted, losses are logged."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from serve_app.tracing.exporters import LazyExporter
from serve_app.tracing.failures import QUEUE_FULL, ExportFailure, explain, explain_logs

REPORT_SECONDS = 60.0
SCHEDULE_DELAY_MS = 1000
"""Replicas are killed after their grace period: spans must not wait long in a queue."""
MAX_QUEUE_SIZE = 2048
"""Spans; the default of the OpenTelemetry specification."""

SpanOutcome = Literal["exported", "failed", "dropped"]

SpanObserver = Callable[[SpanOutcome, int, ExportFailure | None], None]
"""Called on the exporting thread with the outcome, the number of spans and, if lost, the reason."""


class ObservedExporter(SpanExporter):
    """Wraps an exporter: every outcome reaches the observer, with its cause and fix."""

    def __init__(self, exporter: SpanExporter, observer: SpanObserver) -> None:
        self._exporter = exporter
        self._observe = observer
        self.spans_taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export; never raises."""
        self.spans_taken += len(spans)
        try:
            exporter = self._exporter
            if isinstance(exporter, LazyExporter):
                exporter = exporter.make()
            with _captured_logs(exporter) as captured:
                result = exporter.export(spans)
        except Exception as error:
            self._observe("failed", len(spans), explain(error))
            return SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self._observe("exported", len(spans), None)
        else:
            self._observe("failed", len(spans), explain_logs(captured))
        return result

    def shutdown(self) -> None:
        """Shut the wrapped exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the wrapped exporter."""
        return self._exporter.force_flush(timeout_millis)


class ObservedProcessor(BatchSpanProcessor):
    """Batch processor that also reports the spans that it has to drop.

    When the SDK's queue is full, it drops the oldest span and does not count it. Here the request
    path counts the drops, and the observer is called with the next export.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        observer: SpanObserver,
        *,
        max_queue_size: int = MAX_QUEUE_SIZE,
        schedule_delay_ms: float = SCHEDULE_DELAY_MS,
    ) -> None:
        self._observe = observer
        self._observed = ObservedExporter(exporter, self._export_observed)
        self._max_queue_size = max_queue_size
        self._lock = threading.Lock()
        self._queued = 0
        self._dropped = 0
        super().__init__(
            self._observed,
            max_queue_size=max_queue_size,
            schedule_delay_millis=schedule_delay_ms,
            max_export_batch_size=min(512, max_queue_size),
        )

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a finished span for export."""
        context = span.get_span_context()
        if context is not None and context.trace_flags.sampled:
            with self._lock:
                if self._queued - self._observed.spans_taken >= self._max_queue_size:
                    self._dropped += 1
                else:
                    self._queued += 1
        super().on_end(span)

    def _export_observed(
        self, outcome: SpanOutcome, spans: int, failure: ExportFailure | None
    ) -> None:
        self._observe(outcome, spans, failure)
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self._observe("dropped", dropped, QUEUE_FULL)


class FailureReporter:
    """Observer that logs each kind of failure at once, then once a minute with a count."""

    def __init__(
        self,
        logger: logging.Logger,
        *,
        every_seconds: float = REPORT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._every_seconds = every_seconds
        self._clock = clock
        self._last_report: dict[str, float] = {}
        self._lost_spans: dict[str, int] = {}
        self._recovery_is_news = False

    def __call__(self, outcome: SpanOutcome, spans: int, failure: ExportFailure | None) -> None:
        """Note the outcome of ``spans`` spans."""
        if failure is None:
            if self._recovery_is_news:
                self._recovery_is_news = False
                self._logger.info("span export works again")
            return
        # By fix and not by cause, whose text may differ from one export to the next.
        kind = failure.fix
        self._lost_spans[kind] = self._lost_spans.get(kind, 0) + spans
        now = self._clock()
        if now - self._last_report.get(kind, -float("inf")) < self._every_seconds:
            return
        self._last_report[kind] = now
        self._recovery_is_news = self._recovery_is_news or outcome == "failed"
        self._logger.error(
            "spans %s: %s",
            outcome,
            failure.cause,
            extra={
                "fields": {
                    "cause": failure.cause,
                    "fix": failure.fix,
                    "spans_lost": self._lost_spans.pop(kind),
                }
            },
        )


class _Capture(logging.Filter):
    """Holds back the records of one thread and lets all others pass."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()
        self.records: list[logging.LogRecord] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread:
            return True
        self.records.append(record)
        return False


@contextmanager
def _captured_logs(exporter: SpanExporter) -> Iterator[list[logging.LogRecord]]:
    # Exporters do not return the reason of a failure. They log it, with a stack trace, so that
    # record is the only place where it can be found.
    capture = _Capture()
    modules = {ancestor.__module__ for ancestor in type(exporter).__mro__}
    loggers = [logging.getLogger(module) for module in modules]
    for logger in loggers:
        # First, because OpenTelemetry's own filter hides a record that repeats the one before it.
        logger.filters.insert(0, capture)
    try:
        yield capture.records
    finally:
        for logger in loggers:
            logger.removeFilter(capture)
