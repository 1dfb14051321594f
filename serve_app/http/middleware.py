"""Refuses requests that Ray Serve itself would fail on.

Serve decodes some headers without error handling, and passes WebSockets to a handler for HTTP
requests; a client could cause a 500 or a hanging connection. A time-out of the client that is no
time it ignores, or takes for none. Ray calls `middlewares` in each
process that listens for HTTP, because ``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`` names it.
"""

import math
from collections.abc import Callable

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.http.body import CLIENT_TIMEOUT_HEADER
from serve_app.http.direct import direct_path
from serve_app.http.refusals import LetRefusalsArrive
from serve_app.protocols.answers import for_any_protocol
from serve_app.ray_internals.direct_ingress import servable_behind
from serve_app.ray_internals.serving import listen_on_loopback

SHORTEST_TIMEOUT, LONGEST_TIMEOUT = 0.001, 86_400.0
"""Seconds that a client may give a request; 0 and less are no limit, to Serve."""
POLICY_VIOLATION = 1008
"""Close code; before the handshake is complete, the server turns it into a 403."""


def middlewares() -> list[Middleware]:
    """Middlewares for Ray Serve's HTTP servers, outermost last."""
    # A process that listens for HTTP may listen for gRPC next.
    listen_on_loopback()
    ours = (RefuseUnreadable, LetRefusalsArrive, direct_path, servables_own)
    return [Middleware(each) for each in ours]


def servables_own(app: ASGIApp) -> ASGIApp:
    """``app`` behind what the deployment of this replica brings along, its ``http_middleware``."""
    wrap: Callable[[ASGIApp], ASGIApp] | None
    wrap = getattr(servable_behind(app), "http_middleware", None)
    return app if wrap is None else wrap(app)


class RefuseUnreadable:
    """Refuses WebSockets, headers that are not UTF-8, and time-outs that are no times."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or hand it on."""
        if scope["type"] == "websocket":
            await _close(receive, send)
            return
        for name, value in scope["headers"]:
            if not value.isascii() and not _is_utf8(value):
                await _refuse(
                    f"Header {name[:100].decode('latin-1')} is not UTF-8; percent-encode its value",
                    send,
                )
                return
            if name == CLIENT_TIMEOUT_HEADER and not _is_timeout(value):
                await _refuse(
                    f"Header {name.decode()}={value[:50].decode()!r} is not a time; give seconds "
                    f"from {SHORTEST_TIMEOUT} to {LONGEST_TIMEOUT:.0f}, or 0 for no limit",
                    send,
                )
                return
        await self._app(scope, receive, send)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_timeout(value: bytes) -> bool:
    try:
        seconds = float(value)
    except ValueError:
        return False
    return math.isfinite(seconds) and (
        seconds <= 0 or SHORTEST_TIMEOUT <= seconds <= LONGEST_TIMEOUT
    )


async def _refuse(detail: str, send: Send) -> None:
    body = for_any_protocol(detail)
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
