"""Google's Cloud Trace as a local gRPC server: records what it gets, fails as it is told."""

import threading
from collections.abc import Iterable
from concurrent import futures
from typing import Any, Self

import grpc
from google.cloud.trace_v2.types import BatchWriteSpansRequest, Span
from google.protobuf import any_pb2, empty_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.support.waiting import wait_until

SERVICE = "google.devtools.cloudtrace.v2.TraceService"


class CloudTrace:
    """Implements ``BatchWriteSpans`` of `SERVICE`; a context manager."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.requests = 0
        self._status: status_pb2.Status | None = None
        self._answering = threading.Event()
        self._answering.set()
        self._server = grpc.server(futures.ThreadPoolExecutor(16))
        handler = grpc.unary_unary_rpc_method_handler(
            self._batch_write_spans,
            request_deserializer=BatchWriteSpansRequest.deserialize,
            response_serializer=empty_pb2.Empty.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"BatchWriteSpans": handler}),)
        )
        self.endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.work()
        self._server.stop(grace=None).wait()

    def work(self) -> None:
        """Take spans from now on."""
        self._status = None
        self._answering.set()

    def refuse(self, code: grpc.StatusCode, text: str, *, reason: str | None = None) -> None:
        """Answer with an error from now on; ``reason`` goes into Google's ErrorInfo detail."""
        status = status_pb2.Status(code=code.value[0], message=text)
        if reason is not None:
            detail = any_pb2.Any()
            detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="googleapis.com"))
            status.details.append(detail)
        self._status = status
        self._answering.set()

    def hang(self) -> None:
        """Accept requests from now on, and never answer them."""
        self._answering.clear()

    def wait_for(self, *, trace_id: str, names: Iterable[str], seconds: float = 20) -> list[Span]:
        """Spans of a trace, in order of their start, once there is one of each name."""
        wanted = set(names)
        wait_until(lambda: wanted <= {name_of(span) for span in self.of(trace_id)}, seconds)
        return self.of(trace_id)

    def of(self, trace_id: str) -> list[Span]:
        """Spans received so far of a trace, in order of their start."""
        spans = [span for span in list(self.spans) if f"/traces/{trace_id}/" in span.name]
        return sorted(spans, key=lambda span: span.start_time)

    def _batch_write_spans(
        self, request: BatchWriteSpansRequest, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        self.requests += 1
        while not self._answering.wait(0.1):
            if not context.is_active():  # the client has given up
                return empty_pb2.Empty()
        if self._status is not None:
            context.abort_with_status(rpc_status.to_status(self._status))
        self.spans.extend(request.spans)
        return empty_pb2.Empty()


def name_of(span: Span) -> str:
    """Name that Cloud Trace shows for a span."""
    return str(span.display_name.value)


def attributes_of(span: Span) -> dict[str, Any]:
    """Attributes of a span as plain values."""
    return {key: _plain(value) for key, value in span.attributes.attribute_map.items()}


def _plain(value: Any) -> Any:
    kind = type(value).pb(value).WhichOneof("value")
    plain = getattr(value, kind)
    return plain.value if kind == "string_value" else plain
