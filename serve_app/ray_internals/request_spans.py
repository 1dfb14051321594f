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
"""Attributes that differ from request to request; this one is text."""


class ServeSpan(NamedTuple):
    """What the spans of all requests of one method have in common."""

    name: str
    attributes: Mapping[str, Any]
    """All but `REQUEST_ID` and `STATUS`."""


def serve_span(replica: Any, method: str) -> ServeSpan:
    """The span of requests with an HTTP ``method`` to ``replica``, Serve's object."""
    deployment = replica._deployment_id  # noqa: SLF001
    name = f"replica_handle_request {deployment.name} {CALL_METHOD}"
    route = replica._route_prefix or ""  # noqa: SLF001
    attributes = {
        "resource.name": name,
        "replica_id": replica._replica_id.unique_id,  # noqa: SLF001
        "deployment": deployment.name,
        "app": deployment.app_name,
        "call_method": CALL_METHOD,
        "route": route,
        "multiplexed_model_id": "",
        "is_streaming": True,
        "http.method": method,
        "http.route": route,
    }
    return ServeSpan(name, attributes)
