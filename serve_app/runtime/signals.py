"""Signals: a command that is told to stop ends what it has started, in order."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM)
POLL_SECONDS = 0.1


class StopRequest:
    """Set by signal handlers; the main thread waits for it."""

    def __init__(self) -> None:
        self._requested = False

    def set(self) -> None:
        """Ask to stop."""
        self._requested = True

    def wait(self, seconds: float = math.inf) -> bool:
        """Wait until asked, at most ``seconds``; True if asked."""
        deadline = time.monotonic() + seconds
        # Python runs signal handlers in the main thread. The kernel may interrupt another thread,
        # so the main thread sleeps in short steps.
        while not self._requested and (rest := deadline - time.monotonic()) > 0:
            time.sleep(min(POLL_SECONDS, rest))
        return self._requested


def stop_on_signals(stop: StopRequest) -> None:
    """Let SIGINT and SIGTERM set ``stop``, in place of any other handler."""
    for number in STOPPING:
        signal.signal(number, lambda _number, _frame: stop.set())


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM within.

    Further signals are ignored until the program ends: they would interrupt its clean-up.
    """
    before = [(number, signal.signal(number, _interrupt)) for number in STOPPING]
    try:
        yield
    finally:
        for number, handler in before:
            if signal.getsignal(number) is _interrupt:
                signal.signal(number, handler)


@contextmanager
def kept_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt after Ctrl-C even if what ran has made another error of it.

    Libraries that are interrupted while they are imported report that they cannot be.
    """
    noted: list[int] = []

    def note(number: int, _frame: object) -> NoReturn:
        noted.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as error:
        if noted:
            raise KeyboardInterrupt from error
        raise
    finally:
        if signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, before)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    for number in STOPPING:
        # Ignored, and not handled: Python removes its handlers before it has ended.
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
