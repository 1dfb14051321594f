"""Which exporter the environment names, over real gRPC where it has one."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)

from serve_app.environment import tracing_environment
from serve_app.tracing import exporters
from serve_app.tracing.exporters import ENDPOINT_VARIABLE, LazyExporter, make_exporter
from serve_app.tracing.failures import ExporterError
from tests.support.cloud_trace import CloudTrace, attributes_of, name_of
from tests.support.loopback import LoopbackServer, QuietHandler

METADATA = {
    "instance": {
        "id": 4711,
        "zone": "projects/1/zones/europe-west1-b",
        "attributes": {"cluster-name": "iris-cluster", "cluster-location": "europe-west1"},
    },
    "project": {"projectId": "my-project", "numericProjectId": 1},
}


def send_span(exporter: SpanExporter, resource: Mapping[str, str]) -> None:
    provider = TracerProvider(resource=Resource(dict(resource)), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("test").start_as_current_span("hello") as span:
        span.set_attribute("answer", 42)
    provider.shutdown()


@pytest.mark.parametrize("environment", [{}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_no_exporter_by_default(environment: dict[str, str]) -> None:
    """Without a name, and with ``none``, there is no exporter and nothing to pay for."""
    assert make_exporter(environment) is None


def test_console() -> None:
    """``console`` is the SDK's own exporter to standard output."""
    exporter = make_exporter({"OTEL_TRACES_EXPORTER": "console"})
    assert isinstance(exporter, ConsoleSpanExporter)


def test_cloud_trace_over_grpc(cloud_trace: CloudTrace) -> None:
    """Google's exporter delivers a span, with ``service.*`` of the resource among its labels."""
    exporter = make_exporter(
        {
            "OTEL_TRACES_EXPORTER": "gcp_trace",
            "GOOGLE_CLOUD_PROJECT": "my-project",
            ENDPOINT_VARIABLE: cloud_trace.endpoint,
        }
    )
    assert exporter is not None
    send_span(exporter, {"service.name": "iris", "process.pid": "1"})
    (span,) = cloud_trace.spans
    assert name_of(span) == "hello"
    assert span.name.startswith("projects/my-project/traces/")
    attributes = attributes_of(span)
    assert attributes.pop("g.co/agent").startswith("opentelemetry-python")
    assert attributes == {"answer": 42, "service.name": "iris"}


class _Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.requests: list[Any] = []

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


def test_otlp_over_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    """``otlp`` delivers a span and its resource to an OTLP collector."""
    collector = _Collector()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    try:
        exporter = make_exporter({"OTEL_TRACES_EXPORTER": "otlp"})
        assert exporter is not None
        send_span(exporter, {"service.name": "iris"})
    finally:
        server.stop(grace=None).wait()
    (resource_spans,) = collector.requests[0].resource_spans
    assert resource_spans.scope_spans[0].spans[0].name == "hello"
    assert [(a.key, a.value.string_value) for a in resource_spans.resource.attributes] == [
        ("service.name", "iris")
    ]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "'zipkin' is unknown; fix: use one of gcp_trace, otlp",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "thrift"},
            "'thrift' is unknown; fix: use grpc or http/protobuf",
        ),
        (
            {
                "OTEL_TRACES_EXPORTER": "gcp_trace",
                "GOOGLE_CLOUD_PROJECT": "p",
                ENDPOINT_VARIABLE: "127.0.0.1:1",
                "OTEL_EXPORTER_GCP_TRACE_RESOURCE_REGEX": "[",
            },
            "OTEL_TRACES_EXPORTER=gcp_trace cannot be used: ",
        ),
    ],
)
def test_misconfigured(environment: dict[str, str], message: str) -> None:
    """Every wrong setting is one kind of error, which names it, at the first export at last."""
    with pytest.raises(ExporterError) as raised:
        export_nothing(environment)
    assert message in str(raised.value)


def export_nothing(environment: Mapping[str, str]) -> None:
    exporter = make_exporter(environment)
    assert exporter is not None
    exporter.export([])


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Google credentials the error says how to get some."""
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/credentials.json")
    with pytest.raises(ExporterError, match="gcloud auth application-default login"):
        export_nothing({"OTEL_TRACES_EXPORTER": "gcp_trace"})


def test_an_exporter_that_connects_is_made_when_it_exports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not before, and once; what has failed is tried again after a while, not at each export."""
    made: list[ConsoleSpanExporter] = []

    def make() -> SpanExporter:
        if not made:
            made.append(ConsoleSpanExporter(out=io.StringIO()))
            raise ConnectionError("nobody answers")
        made.append(ConsoleSpanExporter(out=io.StringIO()))
        return made[-1]

    exporter = LazyExporter("gcp_trace", make)
    exporter.shutdown()
    assert exporter.force_flush()
    assert made == []
    for _ in range(2):
        with pytest.raises(ExporterError, match=r"gcp_trace cannot be used: .*nobody answers"):
            exporter.export([])
    assert len(made) == 1
    monkeypatch.setattr(exporters, "RETRY_SECONDS", 0.0)
    assert exporter.export([]) is SpanExportResult.SUCCESS
    assert exporter.make() is made[1]
    assert exporter.force_flush()


class _MetadataServer(QuietHandler):
    """Google's metadata server, reached as an HTTP proxy because its name is fixed."""

    def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
        self.answer(json.dumps(METADATA).encode())


def test_resource_on_gke(cloud_trace: CloudTrace, tmp_path: Path) -> None:
    """On GKE, spans carry what Google's detector found, and the pod from OTEL variables."""
    chosen = {
        "OTEL_TRACES_EXPORTER": "gcp_trace",
        "OTEL_SERVICE_NAME": "iris",
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.2.3,k8s.namespace.name=models,"
        "k8s.pod.name=iris-worker-0,k8s.container.name=ray-worker",
        "GOOGLE_CLOUD_PROJECT": "my-project",
        ENDPOINT_VARIABLE: cloud_trace.endpoint,
    }
    with LoopbackServer(_MetadataServer) as proxy:
        check = subprocess.run(
            [sys.executable, "-m", "serve_app", "traces", "check"],
            env={
                **os.environ,
                **chosen,
                **tracing_environment(chosen),
                "KUBERNETES_SERVICE_HOST": "10.0.0.1",
                "HTTP_PROXY": proxy.url,
                "NO_PROXY": "127.0.0.1",
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert check.returncode == 0, check.stderr
    attributes = attributes_of(cloud_trace.spans[0])
    assert attributes["service.name"] == "iris"
    assert attributes["service.version"] == "1.2.3"
    assert {key: value for key, value in attributes.items() if key.startswith("g.co/r/")} == {
        "g.co/r/k8s_container/location": "europe-west1",
        "g.co/r/k8s_container/cluster_name": "iris-cluster",
        "g.co/r/k8s_container/namespace_name": "models",
        "g.co/r/k8s_container/pod_name": "iris-worker-0",
        "g.co/r/k8s_container/container_name": "ray-worker",
    }
