"""Calls of gRPC at a fixed rate, and what became of each: what `studies.drill_load` is for HTTP.

The client is grpcio's as it comes: a call that no server has begun is sent again on another
connection, without the caller's knowledge.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from loadtest.driver.grpc_channel import OWN_CONNECTION
from studies.steady_load import GOOD, TIMEOUT_SECONDS, Answer, SteadyLoad


@dataclass
class GrpcLoad(SteadyLoad):
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

    @asynccontextmanager
    async def _connections(self) -> AsyncIterator[None]:
        async with grpc.aio.insecure_channel(self.address) as self._kept:
            yield

    async def _send(self, number: int) -> None:
        if not self.one_of or (number + 1) % self.one_of:
            await self._call(self._kept)
            return
        options = [OWN_CONNECTION]
        async with grpc.aio.insecure_channel(self.address, options=options) as channel:
            await self._call(channel)

    async def _call(self, channel: grpc.aio.Channel) -> None:
        sent = self.seconds
        try:
            await channel.unary_unary(self.method)(self.request, timeout=TIMEOUT_SECONDS)
            status = GOOD
        except grpc.aio.AioRpcError as error:
            status = error.code().name
        self.answers.append(Answer(sent, self.seconds, status))
