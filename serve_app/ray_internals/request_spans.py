"""The span that Serve makes of a request, for one that is answered without Serve.

Source: ``_tracing_context``, ``_record_errors_and_metrics`` and ``_determine_http_route`` in
ray/serve/_private/replica.py, and ``TraceContextManager`` in ray/serve/_private/tracing_utils.py.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

TRACER = "ray.serve._private.tracing_utils"
"""Who makes it: the instrumentation scope."""
CALL_METHOD = "__call__"
REQUEST_ID = "request_id"
STATUS = "http.status_code"
RPC_STATUS = "rpc.grpc.status_code"
"""Attributes that differ from request to request; the last two, of which a span has one, are
text."""


class ServeSpan(NamedTuple):
    """What the spans of all requests of one method have in common."""

    name: str
    attributes: Mapping[str, Any]
    """All but the request's id and status."""
    status: str = STATUS
    """Name of the attribute that has the status."""


def http_span(replica: Any, method: str) -> ServeSpan:
    """The span of requests with an HTTP ``method`` to ``replica``, Serve's object."""
    route = replica._route_prefix or ""  # noqa: SLF001
    of_protocol = {"is_streaming": True, "http.method": method, "http.route": route}
    return _span(replica, CALL_METHOD, route, of_protocol, STATUS)


def rpc_span(replica: Any, method: str) -> ServeSpan:
    """The span of gRPC calls of a ``method`` of the deployment of ``replica``."""
    deployment = replica._deployment_id  # noqa: SLF001
    of_protocol = {
        "is_streaming": False,
        "rpc.system": "gRPC",
        "rpc.method": method,
        "rpc.service": deployment.name,
    }
    return _span(replica, method, deployment.app_name, of_protocol, RPC_STATUS)


def _span(
    replica: Any, call_method: str, route: str, of_protocol: Mapping[str, Any], status: str
) -> ServeSpan:
    deployment = replica._deployment_id  # noqa: SLF001
    name = f"replica_handle_request {deployment.name} {call_method}"
    attributes = {
        "resource.name": name,
        "replica_id": replica._replica_id.unique_id,  # noqa: SLF001
        "deployment": deployment.name,
        "app": deployment.app_name,
        "call_method": call_method,
        "route": route,
        "multiplexed_model_id": "",
        **of_protocol,
    }
    return ServeSpan(name, attributes, status)
