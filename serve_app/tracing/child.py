"""The process that exports spans: ``python -m serve_app.tracing.child``, started by the relay.

Encoding and sending would hold the interpreter lock of the process that answers requests. This one
reads spans from its standard input, exports them, and writes what became of them to its standard
output. It ends when its input ends, after the last export: signals are the parent's business, and a
parent that was killed leaves nothing behind. It imports nothing that a model needs.
"""

import io
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from serve_app.telemetry.plain_spans import PlainSpan
    from serve_app.tracing.frames import Report

END_SECONDS = 15.0
"""From the end of the input until the process ends though an export has not.

Longer than Google's library looks for credentials."""


def main() -> None:
    """Export what standard input brings, until it ends."""
    # First, before an import that takes time.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    from serve_app.tracing.frames import BROKEN, PRINTED, Report

    reports = Reports(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    # Exporters print here, and take this name when they are imported.
    sys.stdout = _Lines(lambda text: reports(Report(PRINTED, text=text)))
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
    try:
        export_all(sys.stdin.buffer, reports)
    except Exception as error:
        reports(Report(BROKEN, text=f"{type(error).__name__}: {error}"))
        # At once: Python's own end would wait for the thread that reads.
        os._exit(1)


class Reports:
    """Writes reports for the parent; into nothing when it has gone."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def __call__(self, report: "Report") -> None:
        """Write one."""
        with self._lock:
            try:
                self._pipe.write(report.line())
                self._pipe.flush()
            except OSError:
                pass


class _Lines(io.TextIOBase):
    """A file that hands on each text that is written."""

    def __init__(self, put: Callable[[str], None]) -> None:
        self._put = put

    def write(self, text: str) -> int:
        """Hand it on."""
        self._put(text)
        return len(text)


def export_all(pipe: IO[bytes], reports: Reports) -> None:
    """Export each frame of ``pipe`` and report its outcome, until it ends."""
    from serve_app.tracing.conversion import Sdk
    from serve_app.tracing.delivery import ObservedExporter, SpanOutcome
    from serve_app.tracing.failures import ExportFailure, explain
    from serve_app.tracing.frames import Report

    def observe(outcome: SpanOutcome, spans: int, failure: ExportFailure | None) -> None:
        cause, fix = (failure.cause, failure.fix) if failure else ("", "")
        reports(Report(outcome, spans, cause, fix))

    frames = _read_ahead(pipe)
    exporter = ObservedExporter(_exporter(reports), observe)
    sdk = Sdk()
    while (spans := frames.get()) is not None:
        try:
            readable = [sdk.readable(span) for span in spans]
        except Exception as error:
            observe("failed", len(spans), explain(error))
        else:
            exporter.export(readable)
    exporter.shutdown()


def _read_ahead(pipe: IO[bytes]) -> "queue.SimpleQueue[list[PlainSpan] | None]":
    """Read in a thread, so that the parent can always write, and its end is seen at once.

    The parent bounds how many spans it hands over before it hears what became of them.
    """
    from serve_app.tracing.frames import read_spans

    frames: queue.SimpleQueue[list[PlainSpan] | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            while (spans := read_spans(pipe)) is not None:
                frames.put(spans)
        finally:
            frames.put(None)
        end = threading.Timer(END_SECONDS, os._exit, args=[1])
        end.daemon = True
        end.start()

    threading.Thread(target=read, daemon=True).start()
    return frames


def _exporter(reports: Reports) -> "SpanExporter":
    """The exporter of the environment; why there is none is said before the first span."""
    from serve_app.tracing.exporters import LazyExporter, UnusableExporter, make_exporter
    from serve_app.tracing.failures import ExporterError
    from serve_app.tracing.frames import UNUSABLE, Report

    exporter: SpanExporter | None = None
    try:
        exporter = make_exporter(os.environ)
        if isinstance(exporter, LazyExporter):
            exporter.make()
    except ExporterError as error:
        reports(Report(UNUSABLE, text=error.failure.cause, fix=error.failure.fix))
        return exporter or UnusableExporter(error)
    return exporter or UnusableExporter(ExporterError("no exporter is named", "name one"))


if __name__ == "__main__":
    main()
