"""The direct path of a replica, between a client and Serve, without either."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from starlette.types import Message, Receive, Scope, Send

from serve_app.http.direct import DirectPath, DirectRoutes
from serve_app.ray_internals.direct_ingress import ReplicaBooks
from serve_app.ray_internals.request_spans import ServeSpan
from serve_app.tracing.requests import RequestSpans
from serve_app.tracing.sampling import Sampling
from tests.support.iris_requests import ROW as SETOSA

BODY = json.dumps(SETOSA).encode()
USUAL = {"host": "localhost", "content-type": "application/json", "content-length": str(len(BODY))}
TRACED = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
UNTRACED = TRACED[:-2] + "00"
SERVES_WAY = 299
"""Status of a request that was handed on."""
SERVE = ServeSpan("replica_handle_request Classifier __call__", {"route": "/"})
"""What the spans of all requests have in common."""


class Books:
    """Serve's books of a replica, in the open."""

    def __init__(self) -> None:
        self.servable: object = None
        self.route_prefix = "/"
        self.timeout_seconds: float | None = 10.0
        self.has_access_log = False
        self.is_full = False
        self.ongoing = 0
        self.entries: list[tuple[str, int | str, int]] = []

    def begin(self) -> None:
        self.ongoing += 1

    def end(self) -> None:
        self.ongoing -= 1

    def enter(self, method: str, status: int | str, latencies: Sequence[float]) -> None:
        assert all(latency > 0 for latency in latencies)
        self.entries.append((method, status, len(latencies)))


class ServesWay:
    """What Serve would be given."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        while True:
            message = await receive()
            self.body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        await send({"type": "http.response.start", "status": SERVES_WAY, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    @property
    def traceparents(self) -> list[bytes]:
        """Of its only request."""
        (scope,) = self.scopes
        return [value for name, value in scope["headers"] if name == b"traceparent"]


class Lane:
    """The direct path between a client and Serve."""

    def __init__(
        self,
        routes: DirectRoutes,
        sampling: Sampling | None = None,
        spans: RequestSpans | None = None,
    ) -> None:
        self.books, self.serve = Books(), ServesWay()
        self._routes, self._sampling, self._spans = routes, sampling, spans

    def make(self) -> DirectPath:
        books = cast(ReplicaBooks, self.books)
        return DirectPath(self.serve, books, self._routes, self._sampling, self._spans)

    def __call__(
        self,
        headers: Mapping[str, str | None] | None = None,
        parts: Sequence[bytes] = (BODY,),
        **scope: Any,
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON of the answer to one request."""
        return asyncio.run(self.ask(self.make(), headers or {}, parts, **scope))

    async def ask(
        self,
        app: DirectPath,
        headers: Mapping[str, str | None],
        parts: Sequence[bytes],
        **scope: Any,
    ) -> tuple[int, dict[str, str], Any]:
        left, sent = list(parts), list[Message]()

        async def receive() -> Message:
            body = left.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(left)}

        async def send(message: Message) -> None:
            sent.append(message)

        named = {**USUAL, **headers}.items()
        request = {
            "type": "http",
            "method": "POST",
            "path": "/predict/",
            "root_path": "",
            "headers": [
                (name.encode(), value.encode("latin-1"))
                for name, value in named
                if value is not None
            ],
            **scope,
        }
        await app(request, receive, send)
        start, body = sent
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], found, json.loads(body["body"] or b"null")


class Ratio(Sampling):
    """Traces what has no caller that decides, or does not."""

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio
