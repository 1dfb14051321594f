"""What has to be done again and again on the event loop, beside the requests."""

import asyncio
import logging
from collections.abc import Callable

from serve_app.telemetry.logs import LOGGER_NAME


class Periodic:
    """Calls a function at intervals, from the first `start` on.

    A failure is logged, and the next call comes in its time: a task that ended would end silently.

    Args:
        act: what is called.
        seconds: between two calls.
        complaint: what the log says of a failure.
    """

    def __init__(self, act: Callable[[], None], seconds: float, complaint: str) -> None:
        self._act = act
        self._seconds = seconds
        self._complaint = complaint
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running loop, unless it has begun."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                self._act()
            except Exception:
                logging.getLogger(LOGGER_NAME).exception(self._complaint)
