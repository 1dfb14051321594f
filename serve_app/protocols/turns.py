"""Lets long requests be worked on one after the other, so that the event loop turns in between.

A replica computes on the loop on which it reads. In one turn, the loop accepts one new connection
and then does all that is ready. Where many long requests are ready at once, a turn takes seconds;
of hundreds of new connections, the last ones wait until HAProxy gives up.
"""

import asyncio
from collections import deque

SHORT_BODY = 2 * 1024
"""Bytes of a body that need not wait for its turn: a row, or a few."""
BYTES_PER_TURN = 16 * 1024
"""Bodies of so many bytes together are worked on in one turn, which takes a millisecond or two. A
longer body has a turn for itself."""

BINARY_SHARE = 8
"""So many bytes of tensors are less work than one byte of JSON."""


class Turns:
    """Gives turns of the event loop, in the order in which they are asked for."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._taken = 0

    async def __call__(self, size: int) -> None:
        """Wait until ``size`` bytes may be worked on; at once, if the turn has room for them."""
        loop = asyncio.get_running_loop()
        if self._taken == 0:
            loop.call_soon(self._next)
        elif self._waiting or self._taken + size > BYTES_PER_TURN:
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiting.append((size, waiter))
            await waiter
            return
        self._taken += size

    def _next(self) -> None:
        """Let those go on in the next turn that fit into it, and at least one."""
        self._taken = 0
        while self._waiting:
            size, waiter = self._waiting[0]
            if self._taken and self._taken + size > BYTES_PER_TURN:
                break
            self._waiting.popleft()
            # A client that has closed its connection has cancelled its future.
            if not waiter.done():
                waiter.set_result(None)
                self._taken += size
        if self._taken:
            asyncio.get_running_loop().call_soon(self._next)
