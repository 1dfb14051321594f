"""Reads the body of a request within the limits of size and time."""

import asyncio

from starlette.requests import Request

from serve_app.protocols.answers import BINARY_TYPE, JSON_TYPE, Headers, HttpError
from serve_app.settings import Settings

CLIENT_TIMEOUT_HEADER = b"x-request-timeout-seconds"
"""A client can replace Serve's time-out with this header, or switch it off."""
MAX_LENGTH_DIGITS = 19
"""Digits of a Content-Length that are read: Python refuses to convert thousands of digits."""


async def read_body(request: Request, settings: Settings, *, any_type: bool = False) -> bytes:
    """Body of a request that says it is uncompressed JSON.

    Args:
        request: the request.
        settings: limits of size and time.
        any_type: whether it may say that it is bytes, or say nothing.

    Raises:
        HttpError: 413 and 415, 408 for a body that does not end, 400 for a client that went away.
    """
    headers = dict(request.scope["headers"])
    content_type = headers.get(b"content-type", b"")
    if content_type != JSON_TYPE and not (any_type and content_type in (b"", BINARY_TYPE)):
        _require_json(content_type)
    encoding = headers.get(b"content-encoding", b"")
    # An empty header lists no encoding.
    if encoding and encoding.lower() != b"identity":
        raise HttpError(
            415,
            f"Content-Encoding {encoding[:50].decode('latin-1')!r} is not supported; "
            "send the body uncompressed",
        )
    limit = settings.max_body_bytes
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared[:MAX_LENGTH_DIGITS]) > limit:
        raise _too_large(limit)
    if CLIENT_TIMEOUT_HEADER not in headers:
        return await _read(request, limit)
    try:
        async with asyncio.timeout(settings.max_body_seconds):
            return await _read(request, limit)
    except TimeoutError:
        raise HttpError(
            408, f"The body did not end within {settings.max_body_seconds:g} s", _CLOSE
        ) from None


async def _read(request: Request, limit: int) -> bytes:
    message = await request.receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False) and len(body) <= limit:
        message = await request.receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise HttpError(400, "The client closed the connection before the end of the body")
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _require_json(content_type: bytes) -> None:
    media_type, _, parameters = content_type.decode("latin-1").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() != "application/json" or charset not in ("", "utf-8"):
        raise HttpError(
            415,
            f"Content-Type {content_type[:100].decode('latin-1')!r} is not supported; "
            "send application/json in UTF-8",
        )


_CLOSE: Headers = ((b"connection", b"close"),)
"""If the rest of a body is not read, the connection cannot be used again."""


def _too_large(limit: int) -> HttpError:
    return HttpError(413, f"The body is larger than {limit} bytes; send fewer rows", _CLOSE)
