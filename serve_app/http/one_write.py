"""Lets an answer leave in one piece.

uvicorn writes the head of an answer when it is given the head, and the body after it: two system
calls, and two packets that wake HAProxy. Source: ``RequestResponseCycle.send`` in
uvicorn/protocols/http/httptools_impl.py, which writes twice for an answer whose length is known.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def write_once(send: Send) -> None:
    """Let head and body of the next answer be written together.

    ``send`` is then called twice, with the start of an answer and its whole body. Without effect
    where it is not uvicorn's own.
    """
    cycle = getattr(send, "__self__", None)
    if type(cycle) is RequestResponseCycle:
        cycle.transport = _Together(cycle.transport)  # type: ignore[assignment]


async def write_with_trailers(
    send: Send,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
    trailers: Iterable[tuple[bytes, bytes]],
) -> None:
    """Answer 200 with a body and trailers after it, which uvicorn has no way to send.

    Args:
        send: uvicorn's own.
        headers: without the length: it is an answer in chunks.
        body: not empty.
        trailers: their values are printable.

    Raises:
        TypeError: ``send`` is another server's.
    """
    cycle = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle:
        raise TypeError(f"only uvicorn's httptools can send trailers, and not {send!r}")
    write_once(send)
    chunked = [*headers, (b"transfer-encoding", b"chunked")]
    await send({"type": "http.response.start", "status": 200, "headers": chunked})
    ends = b"".join([b"%b: %b\r\n" % each for each in trailers])
    rest = b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, ends)
    # What follows is written as it is.
    cycle.chunked_encoding = False
    cycle.expected_content_length = len(rest)
    await send({"type": "http.response.body", "body": rest})


class _Together:
    """The transport of one answer, as far as it is used for one."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Keep the head; write it with the body."""
        if self._head:
            self._transport.write(self._head + data)
        else:
            self._head = data

    def close(self) -> None:
        """Close the connection when everything is written."""
        self._transport.close()
