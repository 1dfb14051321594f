"""HTTP/2 as no client writes it: https://www.rfc-editor.org/rfc/rfc9113, in frames by hand."""

import socket
from typing import Self

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS, ACK = 1, 4, 1


class RawConnection:
    """A connection on which each call is a stream.

    Args:
        address: host and port.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)
        self._socket.sendall(PREFACE + _frame(SETTINGS))
        self._stream = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def call(
        self, path: bytes, *, headers: tuple[tuple[bytes, bytes], ...] = (), is_open: bool = False
    ) -> None:
        """Send the head of a call of gRPC; unless ``is_open``, its body ends there."""
        self._stream += 2
        pairs = (
            *((b":method", b"POST"), (b":scheme", b"http"), (b":path", path)),
            *((b":authority", b"here"), (b"content-type", b"application/grpc")),
            (b"te", b"trailers"),
            *headers,
        )
        # Literals that are not indexed: https://www.rfc-editor.org/rfc/rfc7541#section-6.2.2
        block = b"".join(b"\0" + _string(name) + _string(value) for name, value in pairs)
        flags = END_HEADERS if is_open else END_HEADERS | END_STREAM
        self._socket.sendall(_frame(HEADERS, flags, self._stream, block))

    def until(self, text: bytes) -> bytes:
        """What is received until ``text`` is in it, or the connection ends."""
        received = b""
        while text not in received and (part := self._socket.recv(65536)):
            received += part
        return received


def _string(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload
