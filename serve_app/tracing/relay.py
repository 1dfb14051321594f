"""Hands spans to a process that exports them, and says what became of each."""

import collections
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, get_args

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from serve_app.telemetry.logs import LOGGER_NAME
from serve_app.telemetry.plain_spans import PlainSpan
from serve_app.tracing.conversion import plain
from serve_app.tracing.delivery import SpanObserver, SpanOutcome
from serve_app.tracing.failures import QUEUE_FULL, ExportFailure
from serve_app.tracing.frames import BROKEN, PRINTED, UNUSABLE, Report, report_in, write_spans

CHILD = "serve_app.tracing.child"
MAX_SPANS = 8192
"""Spans whose outcome is not known yet: what a replica under full load makes during an export that
takes `EXPORT_SECONDS`, if a tenth of the requests is sampled."""
FRAME_SPANS = 512
"""So many are sent at once; fewer when they have waited for `SEND_SECONDS`."""
SEND_SECONDS = 1.0
"""Replicas are killed after their grace period: spans must not wait long in a queue."""
RESTART_SECONDS = 5.0
"""Until a process that has ended is started again."""
LAST_SECONDS = 1.0
"""After which the end of an exporting process is not that of this one, too, and is said."""
CLOSE_SECONDS = 5.0
RESTARTED = (
    "it is started again by itself; if that repeats, give the pod more memory, and see what "
    "`serve-app traces check` says"
)
_OUTCOMES: tuple[str, ...] = get_args(SpanOutcome)


class Relay:
    """The queue of spans of this process, and the process that exports them.

    A span that does not fit is dropped. Two threads do the rest: one sends what is queued, one
    starts the exporting process, hears what it reports, and starts it again when it has ended.

    Args:
        observe: told the outcome of spans, by these threads, one at a time.
        unusable: told why there is no exporter for now.
        max_spans: queued, sent or being exported; more are dropped.
        send_seconds: how long a span may wait for others.
        restart_seconds: pause before an exporting process is started again.
    """

    def __init__(
        self,
        observe: SpanObserver,
        unusable: Callable[[ExportFailure], None],
        *,
        max_spans: int = MAX_SPANS,
        send_seconds: float = SEND_SECONDS,
        restart_seconds: float = RESTART_SECONDS,
    ) -> None:
        self._observe = observe
        self._unusable = unusable
        self._max_spans = max_spans
        self._send_seconds = send_seconds
        self._restart_seconds = restart_seconds
        self._queue: collections.deque[PlainSpan] = collections.deque()
        self._taken = self._sent = self._settled = self._dropped = 0
        self._changed = threading.Condition()
        """Guards the queue and its counts."""
        self._telling = threading.Lock()
        self._sending = threading.Lock()
        """Held while a frame is sent: none goes to a process whose losses were counted."""
        self._child: subprocess.Popen[bytes] | None = None
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._watcher = threading.Thread(name="spans-reports", target=self._watch, daemon=True)
        self._sender = threading.Thread(name="spans-sender", target=self._send_all, daemon=True)
        self._watcher.start()
        self._sender.start()

    @property
    def child_pid(self) -> int | None:
        """Id of the exporting process; None while there is none."""
        child = self._child
        return None if child is None else child.pid

    def put(self, span: PlainSpan) -> None:
        """Take a finished span, or drop it if there are too many."""
        with self._changed:
            if self._taken - self._settled >= self._max_spans:
                self._dropped += 1
                return
            self._taken += 1
            self._queue.append(span)
            is_frame = len(self._queue) == FRAME_SPANS
        if is_frame:
            self._wake.set()

    def flush(self, seconds: float) -> bool:
        """Send what is queued, and wait for the outcome of all that was taken so far.

        Returns:
            False if it is not known after ``seconds``.
        """
        with self._changed:
            taken = self._taken
            self._wake.set()
            return self._changed.wait_for(lambda: self._settled >= taken, seconds)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Flush, and let the exporting process end; wait at most ``seconds``."""
        deadline = time.monotonic() + seconds
        self.flush(seconds)
        self._closed.set()
        self._wake.set()
        for thread in (self._sender, self._watcher):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _send_all(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(self._send_seconds)
            self._wake.clear()
            self._tell_dropped()
            with self._sending:
                if self._child is not None and self._child.stdin is not None:
                    self._send(self._child.stdin)
        with self._sending:
            self._end_input()

    def _send(self, pipe: IO[bytes]) -> None:
        while True:
            with self._changed:
                count = min(FRAME_SPANS, len(self._queue))
                spans = [self._queue.popleft() for _ in range(count)]
                self._sent += count
            if not spans:
                return
            try:
                write_spans(pipe, spans)
            except OSError:
                return  # It has ended: the other thread is about to count what is lost.

    def _end_input(self) -> None:
        if self._child is not None and self._child.stdin is not None:
            with contextlib.suppress(OSError):
                self._child.stdin.close()

    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                child = _start()
            except OSError as error:
                self._lose(f"cannot be started: {error}")
            else:
                self._hear_all(child)
            self._closed.wait(self._restart_seconds)

    def _hear_all(self, child: subprocess.Popen[bytes]) -> None:
        """Hear what a process reports until it ends; then count what it had not exported."""
        with self._sending:
            self._child = child
            if self._closed.is_set():
                self._end_input()
        self._wake.set()
        reason = ""
        for line in child.stdout or ():
            report = report_in(line.decode())
            if report.kind == BROKEN:
                reason = f", {report.text}"
            else:
                self._hear(report)
        code = child.wait()
        with self._sending:
            self._end_input()
            self._child = None
        if child.stdout is not None:
            child.stdout.close()
        # A process that is ended is ended with its children, and is gone by then.
        if not self._closed.wait(LAST_SECONDS):
            self._lose(f"has ended: {_ending(code)}{reason}")

    def _hear(self, report: Report) -> None:
        if report.kind == UNUSABLE:
            self._unusable(ExportFailure(report.text, report.fix))
        elif report.kind == PRINTED:
            # Where the application's own lines go: Serve may have replaced sys.stdout.
            print(report.text, end="", file=sys.__stdout__, flush=True)
        elif report.kind in _OUTCOMES:
            failure = ExportFailure(report.text, report.fix) if report.text else None
            self._settle(report.kind, report.spans, failure)  # type: ignore[arg-type]

    def _lose(self, what: str) -> None:
        """Count as lost what the process that has ended was given."""
        cause = f"the process that exports spans {what}"
        with self._changed:
            lost = self._sent - self._settled
        self._settle("failed", lost, ExportFailure(cause, RESTARTED))

    def _settle(self, outcome: SpanOutcome, spans: int, failure: ExportFailure | None) -> None:
        self._tell(outcome, spans, failure)
        with self._changed:
            self._settled += spans
            self._changed.notify_all()

    def _tell_dropped(self) -> None:
        with self._changed:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self._tell("dropped", dropped, QUEUE_FULL)

    def _tell(self, outcome: SpanOutcome, spans: int, failure: ExportFailure | None) -> None:
        try:
            with self._telling:
                self._observe(outcome, spans, failure)
        except Exception:
            # A thread that ended would end silently.
            logging.getLogger(LOGGER_NAME).exception("spans could not be counted")


class RelayProcessor(SpanProcessor):
    """Gives the spans of a tracer provider to a relay."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay

    def on_end(self, span: ReadableSpan) -> None:
        """Take a finished span."""
        context = span.get_span_context()
        if context is not None and context.trace_flags.sampled:
            self.relay.put(plain(span))

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """See `Relay.flush`."""
        return self.relay.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """See `Relay.close`."""
        self.relay.close()


def relay_of_process() -> Relay | None:
    """The relay of this process's tracer provider; None if it has none."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return None
    processors = provider._active_span_processor._span_processors  # noqa: SLF001
    found = (each.relay for each in processors if isinstance(each, RelayProcessor))
    return next(found, None)


def _start() -> subprocess.Popen[bytes]:
    # What this process can import, that one can: Ray adds directories of its own.
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    return subprocess.Popen(  # noqa: S603 - this Python and a module of ours
        [sys.executable, "-P", "-m", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Libraries write here whatever they like; reasons come as reports.
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
