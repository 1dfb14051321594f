"""Delivery of spans: exported, failed or dropped; outcomes are counted, losses are logged."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from serve_app.tracing.exporters import LazyExporter
from serve_app.tracing.failures import ExportFailure, explain, explain_logs

REPORT_SECONDS = 60.0

SpanOutcome = Literal["exported", "failed", "dropped"]

SpanObserver = Callable[[SpanOutcome, int, ExportFailure | None], None]
"""Called with the outcome, the number of spans and, if they are lost, the reason."""


class ObservedExporter(SpanExporter):
    """Wraps an exporter: every outcome reaches the observer, with its cause and fix."""

    def __init__(self, exporter: SpanExporter, observer: SpanObserver) -> None:
        self._exporter = exporter
        self._observe = observer

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export; never raises."""
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
