"""Refuses requests that Ray Serve itself would fail on.

Serve decodes some headers without error handling, and passes WebSockets to a handler for HTTP
requests; a client could cause a 500 or a hanging connection. Ray calls `middlewares` in each
process that listens for HTTP, because ``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`` names it.
"""

import orjson
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.http.refusals import LetRefusalsArrive

POLICY_VIOLATION = 1008
"""Close code; before the handshake is complete, the server turns it into a 403."""


def middlewares() -> list[Middleware]:
    """Middlewares for Ray Serve's HTTP servers, outermost last."""
    return [Middleware(RefuseUnreadable), Middleware(LetRefusalsArrive)]


class RefuseUnreadable:
    """Refuses WebSockets and headers that are not UTF-8."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or hand it on."""
        if scope["type"] == "websocket":
            await _close(receive, send)
            return
        for name, value in scope["headers"]:
            if not value.isascii() and not _is_utf8(value):
                await _refuse(name, send)
                return
        await self._app(scope, receive, send)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


async def _refuse(name: bytes, send: Send) -> None:
    detail = f"Header {name[:100].decode('latin-1')} is not UTF-8; percent-encode its value"
    body = orjson.dumps({"detail": detail})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),  # the request's body is not read
    ]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _close(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": POLICY_VIOLATION})
