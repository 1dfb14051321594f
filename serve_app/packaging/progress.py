"""What packaging is doing, shown if it takes long."""

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
