"""Load generator in Python: ``python -m bench.client open|closed URL ...``, body on standard input.

The open loop fixes in advance when each request is due and measures from then: a server that
stalls, or a generator that is late, lengthens the latencies of everything due in the meantime, so
coordinated omission is impossible. The closed loop stands in for wrk where that is missing.
"""

import asyncio
import collections
import contextlib
import gc
import json
import selectors
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, cast
from urllib.parse import urlsplit

import click
import httptools

from bench.stats import percentile
from serve_app.cli.main import run
from serve_app.cli.style import ABOVE_ZERO, COUNT, Command

OPEN_LOOP_CONNECTIONS = 64
DRAIN_SECONDS = 10.0
HTTP_OK = 200
CONNECTION_LOST = 0
"""Stands for the status of a request that was never answered."""


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection with at most one request under way."""

    def __init__(self, answered: Callable[["Connection", int], None]) -> None:
        self._answered = answered
        self._parser: Any = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self.since = 0.0
        """When the request under way was sent or due, on the clock of the event loop."""
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, since: float) -> None:
        """Send a request whose latency counts from ``since``."""
        self.since, self.busy = since, True
        if self._transport is not None:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Called by the parser at the end of an answer."""
        self.busy = False
        self._answered(self, self._parser.get_status_code())

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        del exc
        if self.busy:
            self.busy = False
            self._answered(self, CONNECTION_LOST)

    def close(self) -> None:
        """Close the connection, and forget the request under way."""
        self.busy = False
        if self._transport is not None:
            self._transport.close()


class Tally:
    """Latencies and failures of one run."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.lateness: list[float] = []
        self.failures = 0

    def summary(self, seconds: float) -> dict[str, float]:
        """What the run found, as JSON has it; times in milliseconds unless named otherwise."""
        ordered = sorted(self.latencies)
        found: dict[str, float] = {
            "requests": len(ordered),
            "seconds": seconds,
            "failures": self.failures,
        }
        if ordered:
            found["p50_ms"] = percentile(ordered, 0.5) * 1e3
            found["p99_ms"] = percentile(ordered, 0.99) * 1e3
            found["max_ms"] = ordered[-1] * 1e3
        if self.lateness:
            found["late_p99_ms"] = percentile(sorted(self.lateness), 0.99) * 1e3
        return found


async def closed_loop(
    url: str, body: bytes, *, connections: int, seconds: float
) -> dict[str, float]:
    """Each connection sends its next request when the last is answered."""
    loop = asyncio.get_running_loop()
    tally, request = Tally(), _request(url, body)
    finished = asyncio.Event()
    active: set[Connection] = set()

    def answered(connection: Connection, status: int) -> None:
        now = loop.time()
        if now >= deadline or status != HTTP_OK:
            tally.failures += status != HTTP_OK
            active.remove(connection)
            if not active:
                finished.set()
            return
        tally.latencies.append(now - connection.since)
        connection.send(request, now)

    async with _connected(url, connections, answered) as opened:
        active.update(opened)
        deadline = loop.time() + seconds
        for connection in opened:
            connection.send(request, loop.time())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(finished.wait(), seconds + DRAIN_SECONDS)
        tally.failures += len(active)
    return tally.summary(seconds)


async def open_loop(url: str, body: bytes, *, rate: float, seconds: float) -> dict[str, float]:
    """A request is due every ``1 / rate`` seconds, also while earlier ones are unanswered."""
    loop = asyncio.get_running_loop()
    tally, request = Tally(), _request(url, body)
    idle: list[Connection] = []
    backlog: collections.deque[float] = collections.deque()
    complete = asyncio.Event()
    count = round(rate * seconds)

    def send(connection: Connection, due: float) -> None:
        tally.lateness.append(loop.time() - due)
        connection.send(request, due)

    def answered(connection: Connection, status: int) -> None:
        tally.latencies.append(loop.time() - connection.since)
        tally.failures += status != HTTP_OK
        if len(tally.latencies) == count:
            complete.set()
        if status != HTTP_OK:
            # The connection may be gone; the others go on.
            connection.close()
        elif backlog:
            send(connection, backlog.popleft())
        else:
            idle.append(connection)

    async with _connected(url, OPEN_LOOP_CONNECTIONS, answered) as opened:
        idle.extend(opened)
        started = loop.time()
        for number in range(count):
            due = started + number / rate
            await asyncio.sleep(due - loop.time())
            if idle:
                send(idle.pop(), due)
            else:
                backlog.append(due)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(complete.wait(), DRAIN_SECONDS)
        elapsed = loop.time() - started
    tally.failures += count - len(tally.latencies)
    return tally.summary(elapsed)


@contextlib.asynccontextmanager
async def _connected(
    url: str, count: int, answered: Callable[[Connection, int], None]
) -> AsyncIterator[list[Connection]]:
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    made: list[Connection] = []
    try:
        for _ in range(count):
            _, connection = await loop.create_connection(
                lambda: Connection(answered), parts.hostname or "", parts.port or 80
            )
            made.append(connection)
        yield made
    finally:
        for connection in made:
            connection.close()


def _request(url: str, body: bytes) -> bytes:
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _event_loop() -> asyncio.AbstractEventLoop:
    # epoll and uvloop round sleeps up to milliseconds, which would count as latency; select does
    # not.
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


@click.command(
    cls=Command, example="python -m bench.client open http://127.0.0.1:8000/predict/ < body.json"
)
@click.argument("loop", type=click.Choice(["open", "closed"]))
@click.argument("url")
@click.option("--seconds", type=ABOVE_ZERO, default=1.0, help="Length of the load.")
@click.option("--connections", type=COUNT, default=1, help="Of the closed loop.")
@click.option("--rate", type=ABOVE_ZERO, default=100.0, help="Requests/s of the open loop.")
def client(loop: str, url: str, seconds: float, connections: int, rate: float) -> None:
    """POST the body on standard input to URL, and print what was found as a JSON object."""
    body = sys.stdin.buffer.read()
    gc.disable()
    found = (
        open_loop(url, body, rate=rate, seconds=seconds)
        if loop == "open"
        else closed_loop(url, body, connections=connections, seconds=seconds)
    )
    with asyncio.Runner(loop_factory=_event_loop) as runner:
        click.echo(json.dumps(runner.run(found)))


if __name__ == "__main__":
    sys.exit(run(client, name="python -m bench.client"))
