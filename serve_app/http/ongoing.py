"""Requests under way on the direct path: in Serve's books, and ended when they take too long."""

import asyncio
import itertools
import time
import uuid
from collections.abc import Iterator

from serve_app.ray_internals.direct_ingress import ReplicaBooks
from serve_app.telemetry.periodic import Periodic

BOOKS_SECONDS = 1.0


class Ongoing:
    """Those of one replica.

    Args:
        books: the replica's.
        method: the HTTP or gRPC method of all of them.
    """

    def __init__(self, books: ReplicaBooks, method: str) -> None:
        self._books = books
        self._method = method
        self.has_access_log = books.has_access_log
        """Whether each request has to be logged, as of the last entry: asking costs too much."""
        self._began: dict[asyncio.Task[None], float] = {}
        self._overdue: set[asyncio.Task[None]] = set()
        self._latencies: dict[int | str, list[float]] = {}
        self._entries = Periodic(self.enter, BOOKS_SECONDS, "requests could not be counted")

    def begin(self) -> "asyncio.Task[None]":
        """The current task, which this method returns, begins to answer a request."""
        task: asyncio.Task[None] = asyncio.current_task()  # type: ignore[assignment]
        self._began[task] = time.perf_counter()
        self._books.begin()
        self._entries.start()
        return task

    def end(self, task: "asyncio.Task[None]", status: int | str | None) -> None:
        """It has answered with a status of its protocol, or, without one, was broken off."""
        self._books.end()
        milliseconds = (time.perf_counter() - self._began.pop(task)) * 1e3
        if status is not None:
            self._latencies.setdefault(status, []).append(milliseconds)

    def is_overdue(self, task: "asyncio.Task[None]") -> bool:
        """Whether it was cancelled because it took too long."""
        return task in self._overdue

    def enter(self) -> None:
        """Enter what was answered in Serve's books, and end what takes too long."""
        latencies, self._latencies = self._latencies, {}
        for status, milliseconds in latencies.items():
            self._books.enter(self._method, status, milliseconds)
        self.has_access_log = self._books.has_access_log
        timeout = self._books.timeout_seconds
        self._overdue.intersection_update(self._began)
        if timeout is not None:
            oldest = time.perf_counter() - timeout
            for task, started in self._began.items():
                if started < oldest:
                    self._overdue.add(task)
                    task.cancel()


def request_ids() -> Iterator[str]:
    """Ids like Serve's, of which only the first costs random bits: a start, and a number."""
    start = str(uuid.uuid4())[:-12]
    return (f"{start}{number:012x}" for number in itertools.count())
