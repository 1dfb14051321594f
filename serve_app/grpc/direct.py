"""The direct path of gRPC: answers a call where it arrives, before Ray Serve's own path.

As `serve_app.http.direct` does for HTTP, and for the same reasons. A call is answered right in the
replica's server and entered in Serve's books. Whatever else it may be goes Serve's way: a replica
that is full or whose model is slow, an access log.
docs/decisions/0021-grpc.md.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from serve_app.grpc.rpcs import Reply, Rpcs
from serve_app.http.ongoing import Ongoing, request_ids
from serve_app.ray_internals.direct_ingress import GrpcBooks
from serve_app.tracing.requests import RequestSpan, RequestSpans
from serve_app.tracing.sampling import (
    NOT_SAMPLED,
    TRACEPARENT_HEADER,
    TRACESTATE_HEADER,
    Sampling,
    caller_of,
)

REQUEST_ID = "request_id"
"""Metadata that Serve knows."""
TRACEPARENT, TRACESTATE = TRACEPARENT_HEADER.decode(), TRACESTATE_HEADER.decode()

ServesWay = Callable[[bytes, Any], Awaitable[bytes]]


class DirectRpc:
    """Answers the calls of one method.

    Args:
        path: the method, with its service.
        serve: Serve's way.
        books: the replica's.
        rpcs: what answers.
        sampling: decides which calls are traced; None if none is.
        spans: makes the spans of those; None to let Serve make them.
    """

    def __init__(
        self,
        path: str,
        serve: ServesWay,
        books: GrpcBooks,
        rpcs: Rpcs,
        *,
        sampling: Sampling | None,
        spans: RequestSpans | None,
    ) -> None:
        self._name = path.rpartition("/")[2]
        self._serve = serve
        self._books = books
        self._rpcs = rpcs
        self._sampling = sampling
        self._spans = spans
        self._request_ids = request_ids()
        self.ongoing = Ongoing(books, path)

    async def answer(self, request: bytes, context: Any) -> bytes:
        """Answer a call, or hand it on."""
        metadata = dict(context.invocation_metadata())
        caller, is_traced = None, False
        if self._sampling is not None:
            traceparent = metadata.get(TRACEPARENT)
            caller = caller_of(traceparent and traceparent.encode())
            is_traced = self._sampling.wants(caller)
        if (
            self._books.is_full
            or self._rpcs.is_slow
            or self.ongoing.has_access_log
            or (is_traced and self._spans is None)
        ):
            if self._sampling is not None and not is_traced and caller is None:
                context = _NotSampled(context)
            return await self._serve(request, context)
        request_id, span = metadata.get(REQUEST_ID) or next(self._request_ids), None
        if is_traced and self._spans is not None:
            span = self._spans.begin(request_id, caller, metadata.get(TRACESTATE, ""))
        return await self._answer(request, request_id, span, context)

    async def _answer(
        self, request: bytes, request_id: str, span: RequestSpan | None, context: Any
    ) -> bytes:
        parent = None if span is None else span.context
        task, status = self.ongoing.begin(), None
        try:
            try:
                reply = await self._rpcs(self._name, request, parent)
            except asyncio.CancelledError as error:
                if not self.ongoing.is_overdue(task):
                    raise
                reply = self._too_late()
                if span is not None:
                    span.fail(error)
            context.set_trailing_metadata(((REQUEST_ID, request_id), *reply.trailers))
            if reply.code is not grpc.StatusCode.OK:
                context.set_code(reply.code)
                context.set_details(reply.details)
            status = reply.code.name
        finally:
            self.ongoing.end(task, status)
        if span is not None:
            span.end(status)
        return reply.body

    def _too_late(self) -> Reply:
        details = f"Request timed out after {self._books.timeout_seconds}s."
        return Reply(b"", grpc.StatusCode.DEADLINE_EXCEEDED, details)


class _NotSampled:
    """A call's context for Serve, which samples what no caller decides."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (*self._context.invocation_metadata(), (TRACEPARENT, NOT_SAMPLED.decode()))
