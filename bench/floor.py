"""The floor: uvicorn as Serve configures it, and a constant answer.

No HTTP server in Python does less for a request; its processor time calibrates that of the others.
"""

import os

from starlette.types import ASGIApp, Receive, Scope, Send

BODY_VARIABLE = "BENCH_BODY"


def create_app() -> ASGIApp:
    """Application that answers ``$BENCH_BODY`` to everything."""
    body = os.environ[BODY_VARIABLE].encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def answer(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer
