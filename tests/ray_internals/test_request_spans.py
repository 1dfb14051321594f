"""The span of a request that Serve does not see, against the one that the installed Ray makes."""

import contextvars
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from ray.serve._private import tracing_utils
from ray.serve._private.common import DeploymentID, ReplicaID, RequestMetadata, RequestProtocol
from ray.serve._private.replica import Replica

from serve_app.ray_internals.request_spans import (
    REQUEST_ID,
    STATUS,
    TRACER,
    http_span,
    rpc_span,
)
from tests.ray_internals.installed import source


@pytest.fixture
def replica() -> Any:
    """A replica of Serve's, without what needs a running Ray."""
    made: Any = Replica.__new__(Replica)
    deployment = DeploymentID(name="Classifier", app_name="classifier")
    made._deployment_id = deployment
    made._replica_id = ReplicaID("abc123", deployment_id=deployment)
    made._route_prefix = "/iris"
    made._user_callable_asgi_app = None
    made._ingress = True
    made._access_log_context = {}
    made._metrics_manager = SimpleNamespace(
        record_request_metrics=lambda **_: None, record_ingress_request_metrics=lambda **_: None
    )
    return made


def made_by_serve(
    replica: Any, metadata: RequestMetadata, status: str, monkeypatch: pytest.MonkeyPatch
) -> ReadableSpan:
    """The span that Serve's own code makes of a request."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing_utils, "_tracing_enabled", True)
    monkeypatch.setattr(tracing_utils, "_tracer", provider.get_tracer(tracing_utils.__name__))

    def handle() -> None:
        with replica._tracing_context(metadata):
            replica._record_errors_and_metrics(None, status, 1.0, metadata)

    # Serve leaves its span in the context, which is the request's own.
    contextvars.copy_context().run(handle)
    (made,) = exporter.get_finished_spans()
    provider.shutdown()
    return made


def test_that_of_grpc_is_the_one_that_serve_makes(
    replica: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for a call of gRPC, whose attributes are others."""
    metadata = RequestMetadata(
        request_id="mine",
        internal_request_id="internal",
        call_method="ModelInfer",
        route="classifier",
        app_name="classifier",
        _grpc_service_method="/inference.GRPCInferenceService/ModelInfer",
        _request_protocol=RequestProtocol.GRPC,
        is_direct_ingress=True,
    )
    made = made_by_serve(replica, metadata, "NOT_FOUND", monkeypatch)
    ours = rpc_span(replica, "ModelInfer")
    assert (made.name, made.kind.name) == (ours.name, "SERVER")
    expected = {**ours.attributes, REQUEST_ID: "mine", ours.status: "NOT_FOUND"}
    assert dict(made.attributes or {}) == expected
    text = source("serve/_private/replica.py")
    assert 'call_method=service_method.split("/")[-1],' in text
    assert "route=self._deployment_id.app_name," in text


def test_it_is_the_one_that_serve_makes(replica: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, kind, maker and every attribute; Serve's own code makes the other one."""
    metadata = RequestMetadata(
        request_id="mine",
        internal_request_id="internal",
        call_method="__call__",
        route=replica._determine_http_route({"path": "/iris/predict/"}),
        app_name="classifier",
        is_streaming=True,
        _request_protocol=RequestProtocol.HTTP,
        _http_method="POST",
        is_direct_ingress=True,
    )
    made = made_by_serve(replica, metadata, "422", monkeypatch)
    ours = http_span(replica, "POST")
    assert made.name == ours.name
    assert made.instrumentation_scope is not None
    assert (made.instrumentation_scope.name, made.kind.name) == (TRACER, "SERVER")
    expected = {**ours.attributes, REQUEST_ID: "mine", STATUS: "422"}
    assert dict(made.attributes or {}) == expected
    assert made.status.status_code.name == "UNSET"
