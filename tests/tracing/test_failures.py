"""What is said about failed exports; the errors are those of Google's client over real gRPC."""

import base64
import json
import logging
from pathlib import Path

import grpc
import pytest
from google.cloud.trace_v2 import TraceServiceClient
from google.cloud.trace_v2.services.trace_service.transports import TraceServiceGrpcTransport

from serve_app.tracing import failures
from serve_app.tracing.failures import explain, explain_logs
from tests.support.cloud_trace import CloudTrace


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")


def error_of(channel: grpc.Channel) -> Exception:
    client = TraceServiceClient(transport=TraceServiceGrpcTransport(channel=channel))
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is Google's business
        client.batch_write_spans({"name": "projects/my-project"}, timeout=1, retry=None)
    channel.close()
    return raised.value


@pytest.mark.parametrize(
    ("code", "reason", "fix"),
    [
        ("PERMISSION_DENIED", None, "grant roles/cloudtrace.agent to the account of the"),
        ("PERMISSION_DENIED", "SERVICE_DISABLED", "services enable cloudtrace.googleapis.com"),
        ("UNAUTHENTICATED", None, "gcloud auth application-default login"),
        ("UNAVAILABLE", None, "connections to cloudtrace.googleapis.com:443"),
        ("RESOURCE_EXHAUSTED", None, "lower RAY_SERVE_TRACING_SAMPLING_RATIO"),
        ("NOT_FOUND", None, "set GOOGLE_CLOUD_PROJECT"),
        ("INTERNAL", None, "serve-app traces check"),
    ],
)
def test_each_status_has_its_fix(
    cloud_trace: CloudTrace, code: str, reason: str | None, fix: str
) -> None:
    """Each status that Cloud Trace may answer names its own text and a fix of its own."""
    cloud_trace.refuse(grpc.StatusCode[code], "the server's words", reason=reason)
    failure = explain(error_of(grpc.insecure_channel(cloud_trace.endpoint)))
    assert "the server's words" in failure.cause
    assert fix in failure.fix
    assert str(failure) == f"{failure.cause}; fix: {failure.fix}"


def test_no_server_listens() -> None:
    """A connection that is refused is a matter of the network, and the cause says which one."""
    failure = explain(error_of(grpc.insecure_channel("127.0.0.1:1")))
    assert "127.0.0.1:1" in failure.cause
    assert "NetworkPolicy" in failure.fix


def test_deadline(cloud_trace: CloudTrace) -> None:
    """A server that never answers is a matter of packets that are dropped on their way."""
    cloud_trace.hang()
    failure = explain(error_of(grpc.insecure_channel(cloud_trace.endpoint)))
    assert "Deadline Exceeded" in failure.cause
    assert "drops packets" in failure.fix


class _NoToken(grpc.AuthMetadataPlugin):  # type: ignore[misc]
    def __call__(
        self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        raise RuntimeError("metadata server answered 403")


def test_no_token(tmp_path: Path) -> None:
    """No access token: gRPC says UNAVAILABLE, but the fix is about the identity."""
    address = f"unix:{tmp_path}/server"
    kind = grpc.LocalConnectionType.UDS
    server = grpc.server(None)
    server.add_secure_port(address, grpc.local_server_credentials(kind))
    server.start()
    credentials = grpc.composite_channel_credentials(
        grpc.local_channel_credentials(kind), grpc.metadata_call_credentials(_NoToken())
    )
    try:
        error = error_of(grpc.secure_channel(address, credentials))
    finally:
        server.stop(grace=None)
    failure = explain(error)
    assert "503" in failure.cause
    assert "metadata server answered 403" in failure.cause
    assert "gcloud auth application-default login" in failure.fix


def test_fix_names_the_pods_own_account(
    cloud_trace: CloudTrace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a pod the command grants the role to the pod's own Kubernetes service account."""
    claims = {"kubernetes.io": {"namespace": "models", "serviceaccount": {"name": "iris"}}}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    token = tmp_path / "token"
    token.write_text(f"header.{payload}.signature")
    monkeypatch.setattr(failures, "_SERVICE_ACCOUNT_TOKEN", token)
    cloud_trace.refuse(grpc.StatusCode.PERMISSION_DENIED, "no")
    fix = explain(error_of(grpc.insecure_channel(cloud_trace.endpoint))).fix
    assert fix == (
        "grant roles/cloudtrace.agent to Kubernetes service account models/iris: "
        "gcloud projects add-iam-policy-binding my-project --role=roles/cloudtrace.agent "
        "--member=principal://iam.googleapis.com/projects/"
        '"$(gcloud projects describe my-project --format="value(projectNumber)")"'
        "/locations/global/workloadIdentityPools/my-project.svc.id.goog/subject/ns/models/sa/iris "
        "--condition=None"
    )


def test_silent_exporter() -> None:
    """An exporter that logs nothing is said to have given no reason."""
    assert explain_logs([]).cause == "the exporter gave no reason"


def test_log_line_with_a_status() -> None:
    """The status among a log line's arguments leads to the same fix as the exception would."""
    record = logging.LogRecord(
        "otlp", logging.ERROR, "", 1, "code %s", (grpc.StatusCode.PERMISSION_DENIED,), None
    )
    assert "grant roles/cloudtrace.agent" in explain_logs([record]).fix
