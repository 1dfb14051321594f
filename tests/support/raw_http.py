"""Requests byte by byte, as no HTTP library would send them."""

import socket

HEAD = b"POST /predict/ HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def status_of(url: str, request: bytes, *, seconds: float = 30) -> int:
    """Status of the answer to ``request``; raises TimeoutError if there is none in time."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(request)
        return int(connection.recv(100).split()[1])


def finished(*headers: bytes) -> bytes:
    """A whole request, whose body is an empty object."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return HEAD + lines + b"content-length: 2\r\n\r\n{}"


def unfinished(*headers: bytes) -> bytes:
    """The beginning of a request whose body does not end."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return HEAD + lines + b'content-length: 100\r\n\r\n{"sepal'
