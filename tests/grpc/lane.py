"""The direct path of ModelInfer behind the real HAProxy, without Serve."""

from typing import Any, cast

import grpc
from starlette.types import Receive, Scope, Send

from serve_app.grpc.direct import DirectRpc
from serve_app.grpc.names import MODEL_INFER
from serve_app.grpc.over_http import GrpcOverHttp, while_connected
from serve_app.grpc.rpcs import Rpcs
from serve_app.ray_internals.direct_ingress import GrpcBooks
from serve_app.tracing.requests import RequestSpans
from serve_app.tracing.sampling import Sampling
from tests.grpc.behind_haproxy import BehindHaproxy
from tests.http.lane import Books
from tests.support.iris_requests import MAX_BODY_BYTES

METHOD = "ModelInfer"
SERVES_WAY = "Serve's way"
"""Details of a call that was handed on."""


async def healthy(_scope: Scope, _receive: Receive, send: Send) -> None:
    """A replica's answer to HAProxy's health checks, and to what is no call."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Lane:
    """The direct path between a client and Serve."""

    def __init__(
        self, rpcs: Rpcs, sampling: Sampling | None = None, spans: RequestSpans | None = None
    ) -> None:
        self.books = Books()
        self.handed_on: list[tuple[bytes, dict[str, str]]] = []
        """Request and metadata of what Serve would be given."""
        books, serve = cast(GrpcBooks, self.books), while_connected(self._serve)
        self.direct = DirectRpc(MODEL_INFER, serve, books, rpcs, sampling=sampling, spans=spans)
        app = GrpcOverHttp(healthy, self.direct.answer, longest=MAX_BODY_BYTES, seconds=10)
        self.server = BehindHaproxy(app)

    async def _serve(self, request: bytes, context: Any) -> bytes:
        self.handed_on.append((request, dict(context.invocation_metadata())))
        context.set_code(grpc.StatusCode.ABORTED)
        context.set_details(SERVES_WAY)
        return b""
