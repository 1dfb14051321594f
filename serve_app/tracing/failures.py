"""Why spans did not arrive, and what to do about it."""

import base64
import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

TRACE_ROLE = "roles/cloudtrace.agent"

_SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_NO_TOKEN = "Getting metadata from plugin failed"  # noqa: S105
"""gRPC's message if it gets no access token; the status is UNAVAILABLE, as for network faults."""

_COLLECTOR_FIX = (
    "check OTEL_EXPORTER_OTLP_ENDPOINT, and that a collector listens there and is reachable"
)


@dataclass(frozen=True)
class ExportFailure:
    """Why spans did not arrive."""

    cause: str
    fix: str

    def __str__(self) -> str:
        return f"{self.cause}; fix: {self.fix}"


class ExporterError(Exception):
    """A span exporter that cannot be made."""

    def __init__(self, cause: str, fix: str) -> None:
        self.failure = ExportFailure(cause, fix)
        super().__init__(str(self.failure))


QUEUE_FULL = ExportFailure(
    cause="the queue of spans is full: they end faster than they can be exported",
    fix="lower RAY_SERVE_TRACING_SAMPLING_RATIO, or repair the export if it fails as well",
)


def explain(error: Exception) -> ExportFailure:
    """Say what an exception of an exporter means and what to do about it."""
    if isinstance(error, ExporterError):
        return error.failure
    text = str(error).splitlines()
    cause = f"{type(error).__name__}: {text[0] if text else 'no text'}"
    # A retry that gave up wraps the last error.
    error = getattr(error, "cause", None) or error
    if type(error).__module__.startswith("google.auth") or _NO_TOKEN in str(error):
        return ExportFailure(cause, _identity_fix())
    if getattr(error, "reason", None) == "SERVICE_DISABLED":
        return ExportFailure(cause, _enable_fix())
    return ExportFailure(cause, _fix(getattr(error, "grpc_status_code", None)))


def explain_logs(records: Sequence[logging.LogRecord]) -> ExportFailure:
    """Say what went wrong from what an exporter logged while it failed.

    OpenTelemetry's exporters return no reason. Google's logs the exception; the OTLP exporters log
    a line, over gRPC with the status among its arguments.
    """
    for record in records:
        if record.exc_info and isinstance(record.exc_info[1], Exception):
            return explain(record.exc_info[1])
    said = [record.getMessage() for record in records]
    # The last line is about giving up; the lines before it are about retries.
    cause = said[-1] if said else "the exporter gave no reason"
    status = _status_argument(records)
    if status in (None, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return ExportFailure(cause, _COLLECTOR_FIX)
    return ExportFailure(cause, _fix(status))


def _status_argument(records: Iterable[logging.LogRecord]) -> grpc.StatusCode | None:
    arguments = (argument for record in records for argument in record.args or ())
    return next((value for value in arguments if isinstance(value, grpc.StatusCode)), None)


def _fix(status: grpc.StatusCode | None) -> str:
    no_project = "set GOOGLE_CLOUD_PROJECT to the id of an existing project"
    fixes = {
        grpc.StatusCode.UNAUTHENTICATED: _identity_fix(),
        grpc.StatusCode.PERMISSION_DENIED: f"grant {TRACE_ROLE} to {_identity()}: "
        f"{_grant_command()}",
        grpc.StatusCode.UNAVAILABLE: "check that connections to cloudtrace.googleapis.com:443 are "
        "possible from here (DNS, NetworkPolicy, Private Google Access, proxy)",
        grpc.StatusCode.DEADLINE_EXCEEDED: "check that nothing drops packets to "
        "cloudtrace.googleapis.com:443 (NetworkPolicy, firewall rules, Private Google Access)",
        grpc.StatusCode.RESOURCE_EXHAUSTED: "lower RAY_SERVE_TRACING_SAMPLING_RATIO, or ask for "
        "more Cloud Trace quota (console: APIs & Services > Cloud Trace API > Quotas)",
        grpc.StatusCode.NOT_FOUND: no_project,
        grpc.StatusCode.INVALID_ARGUMENT: no_project,
    }
    return fixes.get(status, "see the cause; `serve-app traces check` tries again with one span")


def _identity_fix() -> str:
    if _kubernetes_subject() is None:
        return "run `gcloud auth application-default login`"
    return f"enable Workload Identity, and grant {TRACE_ROLE} to {_identity()}: {_grant_command()}"


def _enable_fix() -> str:
    return f"gcloud services enable cloudtrace.googleapis.com --project={_project()}"


def _identity() -> str:
    subject = _kubernetes_subject()
    if subject is None:
        return "the account of the application-default credentials"
    return "Kubernetes service account {}/{}".format(*subject)


def _grant_command() -> str:
    """Command that lets this pod's Kubernetes service account write spans.

    https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity
    """
    project = _project()
    subject = _kubernetes_subject()
    if subject is None:
        member = "user:YOU@EXAMPLE.COM"
    else:
        member = (
            "principal://iam.googleapis.com/projects/"
            f'"$(gcloud projects describe {project} --format="value(projectNumber)")"'
            f"/locations/global/workloadIdentityPools/{project}.svc.id.goog"
            "/subject/ns/{}/sa/{}".format(*subject)
        )
    return (
        f"gcloud projects add-iam-policy-binding {project} --role={TRACE_ROLE} "
        f"--member={member} --condition=None"
    )


def _project() -> str:
    return os.environ.get("GOOGLE_CLOUD_PROJECT", "PROJECT_ID")


def _kubernetes_subject() -> tuple[str, str] | None:
    """Namespace and name of this pod's Kubernetes service account, from its mounted token."""
    try:
        payload = _SERVICE_ACCOUNT_TOKEN.read_text(encoding="ascii").split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        kubernetes = claims["kubernetes.io"]
        return kubernetes["namespace"], kubernetes["serviceaccount"]["name"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
