"""What packaging is doing, shown if it takes long."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 2.0
"""A step that takes longer is shown."""

Report = Callable[[str], None]
"""Shows one line to a user."""


class Progress:
    """Names the current step, and reports each one that takes more than `SECONDS`."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.doing = "reading the estimator"

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Within, ``doing`` is going on; such as ``comparing answers``."""
        self.doing = doing
        started = time.monotonic()
        timer = threading.Timer(SECONDS, self.report, (f"{doing} ...",))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        elapsed = time.monotonic() - started
        if elapsed > SECONDS:
            self.report(f"{doing}: {elapsed:.1f} s")


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Within, what takes more processor time raises a TimeoutError, and again after as much.

    A machine that is busy with other work does not give up what it would finish alone.
    Only in the main thread, the only one that Python interrupts; elsewhere there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise TimeoutError(f"not done within {seconds:.0f} s of processor time")

    previous = signal.signal(signal.SIGPROF, interrupt)
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
