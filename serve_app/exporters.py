"""Where spans go, what became of them, and what to do when they did not arrive."""

import base64
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

EXPORTER_NAMES = ("gcp_trace", "otlp", "console", "none")
ENDPOINT_VARIABLE = "SERVE_APP_CLOUD_TRACE_ENDPOINT"
TRACE_ROLE = "roles/cloudtrace.agent"
REPORT_SECONDS = 60.0
SCHEDULE_DELAY_MS = 1000
"""Replicas are killed after their grace period: spans must not wait long in a queue."""

_SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class ExporterError(Exception):
    """A span exporter that cannot be made: names the cause and the fix."""


@dataclass(frozen=True)
class ExportFailure:
    """Why spans did not arrive."""

    cause: str
    fix: str

    def __str__(self) -> str:
        return f"{self.cause}; fix: {self.fix}"


ExportObserver = Callable[[int, ExportFailure | None], None]
"""Called after each export with the number of spans and, if they did not arrive, the reason."""


def make_exporter(environment: Mapping[str, str]) -> SpanExporter | None:
    """Make the exporter that ``OTEL_TRACES_EXPORTER`` names; None for ``none`` or unset.

    Raises:
        ExporterError: an unknown name, or no Google credentials or project.
    """
    name = environment.get("OTEL_TRACES_EXPORTER", "") or "none"
    if name == "none":
        return None
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    if name == "otlp":
        return _otlp_exporter(environment)
    if name == "gcp_trace":
        return _cloud_trace_exporter(environment)
    raise ExporterError(
        f"OTEL_TRACES_EXPORTER={name!r} is unknown; use one of {', '.join(EXPORTER_NAMES)}"
    )


def _otlp_exporter(environment: Mapping[str, str]) -> SpanExporter:
    protocol = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter as HttpExporter,
        )

        return HttpExporter()
    raise ExporterError(
        f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r} is unknown; use grpc or http/protobuf"
    )


def _cloud_trace_exporter(environment: Mapping[str, str]) -> SpanExporter:
    import warnings

    import google.auth.exceptions
    from opentelemetry.exporter.cloud_trace import CloudTraceSpanExporter

    try:
        with warnings.catch_warnings():
            # Deprecated in favour of OTLP to telemetry.googleapis.com; see docs/decisions.
            warnings.simplefilter("ignore", DeprecationWarning)
            exporter: SpanExporter = CloudTraceSpanExporter(
                project_id=environment.get("OTEL_EXPORTER_GCP_TRACE_PROJECT_ID")
                or environment.get("GOOGLE_CLOUD_PROJECT"),
                client=_client_for_endpoint(environment.get(ENDPOINT_VARIABLE)),
                resource_regex=environment.get(
                    "OTEL_EXPORTER_GCP_TRACE_RESOURCE_REGEX", r"service\..*"
                ),
            )
    except google.auth.exceptions.GoogleAuthError as error:
        raise ExporterError(str(explain(error))) from error
    if not exporter.project_id:  # type: ignore[attr-defined]
        raise ExporterError("no Google Cloud project; fix: set GOOGLE_CLOUD_PROJECT to its id")
    return exporter


def _client_for_endpoint(endpoint: str | None) -> Any:
    """Client of a Cloud Trace server other than Google's public one, without TLS; for tests."""
    if not endpoint:
        return None
    import grpc
    from google.cloud.trace_v2 import TraceServiceClient
    from google.cloud.trace_v2.services.trace_service.transports import TraceServiceGrpcTransport

    return TraceServiceClient(
        transport=TraceServiceGrpcTransport(channel=grpc.insecure_channel(endpoint))
    )


class ObservedExporter(SpanExporter):
    """Wraps an exporter: every outcome reaches the observer, with its cause and fix."""

    def __init__(self, exporter: SpanExporter, observer: ExportObserver) -> None:
        self._exporter = exporter
        self._observer = observer
        self.spans_taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export; never raises."""
        self.spans_taken += len(spans)
        with _captured_logs(self._exporter) as captured:
            try:
                result = self._exporter.export(spans)
            except Exception as error:
                self._observer(len(spans), explain(error))
                return SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self._observer(len(spans), None)
        else:
            self._observer(len(spans), _explain_logs(captured))
        return result

    def shutdown(self) -> None:
        """Shut the wrapped exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the wrapped exporter."""
        return self._exporter.force_flush(timeout_millis)


class CountingProcessor(BatchSpanProcessor):
    """Batch processor that tells its observer of each span it has to drop.

    The SDK's own queue forgets the oldest span when it is full, with no more than a log line.
    """

    def __init__(
        self, exporter: ObservedExporter, dropped: Callable[[], None], *, max_queue_size: int = 2048
    ) -> None:
        super().__init__(
            exporter, max_queue_size=max_queue_size, schedule_delay_millis=SCHEDULE_DELAY_MS
        )
        self._observed = exporter
        self._dropped = dropped
        self._max_queue_size = max_queue_size
        self._kept = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a finished span for export."""
        context = span.get_span_context()
        if context is not None and context.trace_flags.sampled:
            if self._kept - self._observed.spans_taken >= self._max_queue_size:
                self._dropped()
            else:
                self._kept += 1
        super().on_end(span)


class FailureReporter:
    """Export observer that logs the first failure at once, then one line a minute with a count."""

    def __init__(
        self,
        logger: logging.Logger,
        *,
        every_seconds: float = REPORT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._every_seconds = every_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._last_report = -float("inf")
        self._unreported_spans = 0
        self._failing = False

    def __call__(self, spans: int, failure: ExportFailure | None) -> None:
        """Take note of one export."""
        with self._lock:
            if failure is None:
                if self._failing:
                    self._failing = False
                    self._last_report = -float("inf")
                    self._logger.info("span export works again")
                return
            self._failing = True
            self._unreported_spans += spans
            if self._clock() - self._last_report < self._every_seconds:
                return
            self._last_report = self._clock()
            lost, self._unreported_spans = self._unreported_spans, 0
        self._logger.error(
            "span export failed: %s",
            failure.cause,
            extra={"fields": {"cause": failure.cause, "fix": failure.fix, "spans_lost": lost}},
        )


class _Capture(logging.Filter):
    """Keeps the records of one thread for itself and lets all others pass."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()
        self.records: list[logging.LogRecord] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread:
            return True
        self.records.append(record)
        return False


@contextmanager
def _captured_logs(exporter: SpanExporter) -> Iterator[list[logging.LogRecord]]:
    # Exporters swallow the reason of a failure into a log record with a stack trace; that record
    # is the only place where the cause is to be had.
    capture = _Capture()
    modules = {ancestor.__module__ for ancestor in type(exporter).__mro__}
    loggers = [logging.getLogger(module) for module in modules]
    for logger in loggers:
        logger.addFilter(capture)
    try:
        yield capture.records
    finally:
        for logger in loggers:
            logger.removeFilter(capture)


def _explain_logs(records: Sequence[logging.LogRecord]) -> ExportFailure:
    for record in records:
        if record.exc_info and isinstance(record.exc_info[1], Exception):
            return explain(record.exc_info[1])
    said = "; ".join(record.getMessage() for record in records) or "the exporter gave no reason"
    return ExportFailure(said, "check OTEL_EXPORTER_OTLP_ENDPOINT and that a collector listens")


def explain(error: Exception) -> ExportFailure:
    """Say what an export error means and what to do about it."""
    cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no text'}"
    status = _status_name(error)
    if type(error).__module__.startswith("google.auth") or status == "UNAUTHENTICATED":
        fix = (
            "give the pod an identity: bind its Kubernetes service account under Workload Identity "
            f"and grant it {TRACE_ROLE}; locally run `gcloud auth application-default login`"
        )
    elif status == "PERMISSION_DENIED":
        fix = f"grant {TRACE_ROLE} to {_identity()}: {_grant_command()}"
    elif status in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        fix = (
            "check that the pod may open connections to cloudtrace.googleapis.com:443 "
            "(NetworkPolicy, Private Google Access) or that the collector is up"
        )
    elif status == "RESOURCE_EXHAUSTED":
        fix = (
            "lower RAY_SERVE_TRACING_SAMPLING_RATIO, or ask for more Cloud Trace quota "
            "(console: APIs & Services > Cloud Trace API > Quotas)"
        )
    elif status == "NOT_FOUND":
        fix = "set GOOGLE_CLOUD_PROJECT to an existing project with the Cloud Trace API enabled"
    else:
        fix = "see the cause; `python -m serve_app.tracing check` tries again with one span"
    return ExportFailure(cause, fix)


def _status_name(error: Exception) -> str:
    status = getattr(error, "grpc_status_code", None)
    return str(status.name) if status is not None else ""


def _identity() -> str:
    subject = _kubernetes_subject()
    if subject is None:
        return "the account of the application-default credentials"
    return "Kubernetes service account {}/{}".format(*subject)


def _grant_command() -> str:
    project = os.environ.get("GOOGLE_CLOUD_PROJECT", "PROJECT_ID")
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


def _kubernetes_subject() -> tuple[str, str] | None:
    """Namespace and name of this pod's Kubernetes service account, from its mounted token."""
    try:
        payload = _SERVICE_ACCOUNT_TOKEN.read_text(encoding="ascii").split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        kubernetes = claims["kubernetes.io"]
        return kubernetes["namespace"], kubernetes["serviceaccount"]["name"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
