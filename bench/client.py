"""The open loop: requests are due at fixed times, and their latencies count from then.

A server that stalls, or a generator that is late, lengthens the latencies of everything due in the
meantime, so coordinated omission is impossible.
"""

import asyncio
import contextlib
import gc
import re
import selectors
from urllib.parse import urlsplit

import numpy as np

from bench.load import LoadResult, NothingAnsweredError
from bench.messages import Request

CONNECTIONS = 64
DRAIN_SECONDS = 10.0
OK = 200
CONNECTION_LOST = 0
"""Stands for the status of a request that was never answered."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def open_loop(request: Request, *, rate: float, seconds: float) -> LoadResult:
    """POST ``request`` every ``1 / rate`` seconds, also while earlier requests are unanswered.

    Raises:
        NothingAnsweredError: no request was answered in time.
    """
    gc.disable()  # its pauses would count as latency
    try:
        # epoll and uvloop round sleeps up to milliseconds; select does not.
        with asyncio.Runner(
            loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())
        ) as runner:
            return runner.run(_open_loop(request, rate, seconds))
    finally:
        gc.enable()


async def _open_loop(request: Request, rate: float, seconds: float) -> LoadResult:
    parts, loop = urlsplit(request.url), asyncio.get_running_loop()
    headers = {"host": parts.netloc, **request.headers, "content-length": len(request.body)}
    lines = [f"POST {parts.path} HTTP/1.1", *(f"{name}: {headers[name]}" for name in headers)]
    sent = "\r\n".join([*lines, "\r\n"]).encode() + request.body
    idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    opened = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(CONNECTIONS)]
    for connection in opened:
        idle.put_nowait(connection)
    latencies: list[float] = []
    lateness: list[float] = []
    statuses: list[int] = []

    async def ask(due: float) -> None:
        connection = await idle.get()
        lateness.append(loop.time() - due)
        status = await _post(connection, sent)
        latencies.append(loop.time() - due)
        statuses.append(status)
        if status == OK:  # otherwise the connection may be gone; the others go on
            idle.put_nowait(connection)

    started, count = loop.time(), round(rate * seconds)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds + DRAIN_SECONDS), asyncio.TaskGroup() as group:
            for number in range(count):
                due = started + number / rate
                await asyncio.sleep(due - loop.time())
                group.create_task(ask(due))
    elapsed = loop.time() - started
    for _, writer in opened:
        writer.close()
    failures = count - statuses.count(OK)
    if failures == count:
        raise NothingAnsweredError(f"no request was answered ({failures} failures)")
    p50, p99, highest = np.percentile(latencies, (50, 99, 100)).tolist()
    return LoadResult(
        requests=len(latencies),
        seconds=elapsed,
        failures=failures,
        p50_ms=p50 * 1e3,
        p99_ms=p99 * 1e3,
        max_ms=highest * 1e3,
        late_p99_ms=float(np.percentile(lateness, 99)) * 1e3,
    )


async def _post(connection: Connection, request: bytes) -> int:
    """Status of the answer, of which every system here says the length."""
    reader, writer = connection
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        return int(head.split(maxsplit=2)[1])
    except (ConnectionError, EOFError):
        return CONNECTION_LOST
