"""Requests at a fixed rate while a fault is caused, and what became of each."""

import asyncio
import contextlib
import json
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self
from urllib.parse import urlsplit

from studies.steady_load import GOOD, TIMEOUT_SECONDS, Answer, SteadyLoad

BUSY = "429"
PRIORITY = -10


@dataclass
class Load(SteadyLoad):
    """Sends a request every ``1 / rate`` seconds, answered or not; a context manager.

    Args:
        url: address of the service, without a path.
        request: the bytes of one request.
        rate: requests/s.
        source: address of this machine to send from; None for whichever leads there.
    """

    url: str
    request: bytes
    rate: float
    source: str | None = None
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        self._address = (str(address.hostname), address.port or 80)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        super().__post_init__()

    @contextlib.asynccontextmanager
    async def _connections(self) -> AsyncIterator[None]:
        with contextlib.suppress(OSError):
            # On a busy machine the service must be slow, and not its client. Root may do that.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PRIORITY)
        yield
        for _, writer in self._idle:
            writer.close()

    async def _send(self, _number: int) -> None:
        sent = self.seconds
        try:
            status = await asyncio.wait_for(self._exchange(), TIMEOUT_SECONDS)
        except TimeoutError:
            status = "none"
        except ConnectionRefusedError:
            status = "refused"
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            status = "lost"
        self.answers.append(Answer(sent, self.seconds, status))

    async def _exchange(self) -> str:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                break
            writer.close()
        else:
            reader, writer = await asyncio.open_connection(
                *self._address, local_addr=(self.source, 0) if self.source else None
            )
        try:
            writer.write(self.request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = head.partition("content-length:")[2].split("\r\n")[0]
            await reader.readexactly(int(length or 0))
        except BaseException:
            writer.close()
            raise
        if "connection: close" in head or not length:
            writer.close()
        else:
            self._idle.append((reader, writer))
        status = head.split()[1]
        return status if status != BUSY or "\nretry-after:" in head else f"{status}, no Retry-After"


def head_of(path: str) -> bytes:
    """The head of a request that sends JSON, as far as it does not depend on the body."""
    return b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" % path.encode()


def post(path: str, content: object) -> bytes:
    """A request that sends ``content`` as JSON."""
    body = json.dumps(content).encode()
    return b"%scontent-length: %d\r\n\r\n%s" % (head_of(path), len(body), body)


def closing(request: bytes) -> bytes:
    """The request as one after which its connection is closed."""
    return request.replace(b"\r\n", b"\r\nconnection: close\r\n", 1)


def by_status(failed: Counter[str]) -> str:
    """Failed requests in words, the most frequent status first; 0 if there is none."""
    return ", ".join(f"{count} x {status}" for status, count in failed.most_common()) or "0"


@dataclass(frozen=True)
class Result:
    """What a fault did to a load."""

    fault: str
    requests: int
    failed: Counter[str]
    """Failed requests by status."""
    whole: float
    """Seconds from the fault until the last failure was sent."""
    slowest: float
    """Seconds of the slowest answer, good or not."""
    notes: str = ""

    HEADER = (
        "| fault | requests | failed, by status | s until whole | slowest answer, s | notes |\n"
        "|---|---|---|---|---|---|"
    )

    @classmethod
    def of(cls, fault: str, answers: Sequence[Answer], began: float, notes: str = "") -> Self:
        """Judge the answers to requests sent since ``began``."""
        since = [answer for answer in answers if answer.answered >= began]
        bad = [answer for answer in since if answer.status != GOOD]
        return cls(
            fault=fault,
            requests=len(since),
            failed=Counter(answer.status for answer in bad),
            whole=max((answer.sent - began for answer in bad), default=0.0),
            slowest=max((answer.answered - answer.sent for answer in since), default=0.0),
            notes=notes,
        )

    def noting(self, note: str) -> Self:
        """A copy with one more note."""
        return replace(self, notes="; ".join(filter(None, (self.notes, note))))

    @property
    def row(self) -> str:
        """A line of the table."""
        return (
            f"| {self.fault} | {self.requests} | {by_status(self.failed)} | {self.whole:.1f} "
            f"| {self.slowest:.1f} | {self.notes} |"
        )
