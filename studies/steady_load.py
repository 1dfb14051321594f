"""Sends something at a fixed rate, and keeps what became of each: the pace of every client here."""

import asyncio
import itertools
import threading
import time
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Self

TIMEOUT_SECONDS = 15.0
GOOD = "200"


@dataclass(frozen=True, order=True)
class Answer:
    """What became of one request; times are seconds since the load began."""

    sent: float
    answered: float
    status: str
    """`GOOD`, or why it failed: a status, or ``refused``, ``lost`` or ``none`` (no answer in
    `TIMEOUT_SECONDS`)."""


class SteadyLoad(ABC):
    """Sends every ``1 / rate`` seconds, answered or not, in a thread; a context manager.

    Dataclasses that have these two fields derive from it.
    """

    rate: float
    answers: list[Answer]

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        """Begin to send."""
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Send no more, and wait for the answers."""
        self._ended.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self._began

    async def _run(self) -> None:
        async with self._connections(), asyncio.TaskGroup() as tasks:
            for number in itertools.count():
                delay = number / self.rate - self.seconds
                if delay > 0:
                    await asyncio.sleep(delay)
                if self._ended.is_set():
                    break
                tasks.create_task(self._send(number))

    @abstractmethod
    def _connections(self) -> AbstractAsyncContextManager[None]:
        """What is there while requests are under way."""

    @abstractmethod
    async def _send(self, number: int) -> None:
        """Send the request of this number, from 0, and add its answer."""
