"""Calls of gRPC at a fixed rate, and what became of each: what `studies.drill_load` is for HTTP.

The client is grpcio's as it comes: a call that no server has begun is sent again on another
connection, without the caller's knowledge.
"""

import asyncio
import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import Self

import grpc

from studies.drill_load import GOOD, TIMEOUT_SECONDS, Answer

OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)
"""Channels to one address share a connection otherwise."""


@dataclass
class GrpcLoad:
    """Makes a call every ``1 / rate`` seconds, answered or not; a context manager.

    Args:
        address: host and port.
        method: path of the method.
        request: the message.
        rate: calls/s.
        one_of: of so many calls one has a connection of its own; 0 for none.
    """

    address: str
    method: str
    request: bytes
    rate: float
    one_of: int = 0
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        """Begin to call."""
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Call no more, and wait for the answers."""
        self._ended.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self._began

    async def _run(self) -> None:
        async with grpc.aio.insecure_channel(self.address) as kept, asyncio.TaskGroup() as tasks:
            for number in itertools.count(1):
                delay = (number - 1) / self.rate - self.seconds
                if delay > 0:
                    await asyncio.sleep(delay)
                if self._ended.is_set():
                    break
                is_new = self.one_of and number % self.one_of == 0
                tasks.create_task(self._send_anew() if is_new else self._send(kept))

    async def _send_anew(self) -> None:
        options = [OWN_CONNECTION]
        async with grpc.aio.insecure_channel(self.address, options=options) as channel:
            await self._send(channel)

    async def _send(self, channel: grpc.aio.Channel) -> None:
        sent = self.seconds
        try:
            await channel.unary_unary(self.method)(self.request, timeout=TIMEOUT_SECONDS)
            status = GOOD
        except grpc.aio.AioRpcError as error:
            status = error.code().name
        self.answers.append(Answer(sent, self.seconds, status))
