"""Where spans go: the exporter that ``OTEL_TRACES_EXPORTER`` names."""

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from serve_app.environment import EXPORTER_VARIABLE, NO_EXPORTER, exporter_name
from serve_app.tracing.failures import ExporterError, explain

ENDPOINT_VARIABLE = "SERVE_APP_CLOUD_TRACE_ENDPOINT"
EXPORT_SECONDS = 4.0
"""An export that takes longer has failed. Google's default, two minutes of silent retries, is
longer than a replica has for its shutdown."""
RETRY_SECONDS = 60.0
"""Until an exporter that could not be made is tried again."""


def make_exporter(environment: Mapping[str, str]) -> SpanExporter | None:
    """Make the exporter that ``OTEL_TRACES_EXPORTER`` names; None for ``none`` or unset.

    Raises:
        ExporterError: an unknown name, no Google credentials or project, or settings that the
            exporter refuses.
    """
    name = exporter_name(environment)
    if name == NO_EXPORTER:
        return None
    if name not in MAKERS:
        known = ", ".join([*MAKERS, NO_EXPORTER])
        raise ExporterError(f"{EXPORTER_VARIABLE}={name!r} is unknown", f"use one of {known}")
    with _explained(name):
        return MAKERS[name](environment)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Raise every error within as an `ExporterError`."""
    try:
        yield
    except ExporterError:
        raise
    except Exception as error:
        failure = explain(error)
        raise ExporterError(
            f"{EXPORTER_VARIABLE}={name} cannot be used: {failure.cause}", failure.fix
        ) from error


class LazyExporter(SpanExporter):
    """An exporter that is made when it is first needed, by the thread that needs it.

    To make some takes connections, and 12 s where their packets are dropped; every process that
    makes spans would wait for that at its start.

    Args:
        name: the exporter's, as ``OTEL_TRACES_EXPORTER`` has it.
        make: makes it.
    """

    def __init__(self, name: str, make: Callable[[], SpanExporter]) -> None:
        self._name = name
        self._make = make
        self._lock = threading.Lock()
        self._made: SpanExporter | None = None
        self._failed: tuple[float, ExporterError] | None = None

    def make(self) -> SpanExporter:
        """The exporter, made now unless it is there.

        Raises:
            ExporterError: it cannot be made, or could not within the last `RETRY_SECONDS`.
        """
        with self._lock:
            if self._made is None:
                if self._failed is not None and time.monotonic() - self._failed[0] < RETRY_SECONDS:
                    raise self._failed[1]
                try:
                    with _explained(self._name):
                        self._made = self._make()
                except ExporterError as error:
                    self._failed = time.monotonic(), error
                    raise
            return self._made

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export ``spans``.

        Raises:
            ExporterError: see `make`.
        """
        return self.make().export(spans)

    def shutdown(self) -> None:
        """Shut the exporter down, if there is one."""
        if self._made is not None:
            self._made.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the exporter, if there is one."""
        return self._made is None or self._made.force_flush(timeout_millis)


class UnusableExporter(SpanExporter):
    """Stands in for an exporter that cannot be made, so that lost spans are counted and named."""

    def __init__(self, error: ExporterError) -> None:
        self._error = error

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Lose ``spans``.

        Raises:
            ExporterError: always; why there is no exporter.
        """
        del spans
        raise self._error


def _console_exporter(_environment: Mapping[str, str]) -> SpanExporter:
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    return ConsoleSpanExporter()


def _otlp_exporter(environment: Mapping[str, str]) -> SpanExporter:
    protocol = _otlp_setting(environment, "PROTOCOL") or "grpc"
    # None lets the exporter read the variable itself.
    timeout = None if _otlp_setting(environment, "TIMEOUT") else EXPORT_SECONDS
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(timeout=timeout)
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter as HttpExporter,
        )

        return HttpExporter(timeout=timeout)
    raise ExporterError(
        f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r} is unknown", "use grpc or http/protobuf"
    )


def _otlp_setting(environment: Mapping[str, str], name: str) -> str | None:
    """An OTLP setting; the one for traces wins over the one for all signals.

    https://opentelemetry.io/docs/specs/otel/protocol/exporter/
    """
    return environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environment.get(
        f"OTEL_EXPORTER_OTLP_{name}"
    )


def _cloud_trace_exporter(environment: Mapping[str, str]) -> SpanExporter:
    # Imported now: half a second of it during the first requests would be felt.
    from opentelemetry.exporter.cloud_trace import CloudTraceSpanExporter

    return LazyExporter("gcp_trace", partial(_connected, CloudTraceSpanExporter, environment))


def _connected(exporter_class: Any, environment: Mapping[str, str]) -> SpanExporter:
    """Google's exporter; finds credentials and project, by the metadata server if need be."""
    with warnings.catch_warnings():
        # Deprecated in favour of OTLP to telemetry.googleapis.com: docs/decisions/0003-tracing.md.
        warnings.simplefilter("ignore", DeprecationWarning)
        exporter = exporter_class(
            project_id=environment.get("OTEL_EXPORTER_GCP_TRACE_PROJECT_ID")
            or environment.get("GOOGLE_CLOUD_PROJECT"),
            client=_client_for_endpoint(environment.get(ENDPOINT_VARIABLE)),
            # Cloud Trace has no resources; these attributes are copied into each span.
            resource_regex=environment.get(
                "OTEL_EXPORTER_GCP_TRACE_RESOURCE_REGEX", r"service\..*"
            ),
        )
    if not exporter.project_id:
        raise ExporterError("no Google Cloud project", "set GOOGLE_CLOUD_PROJECT to its id")
    exporter.client = _ImpatientClient(exporter.client)
    made: SpanExporter = exporter
    return made


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


class _ImpatientClient:
    """The one call of a Cloud Trace client that its exporter makes, within `EXPORT_SECONDS`."""

    def __init__(self, client: Any) -> None:
        from google.api_core.exceptions import ServiceUnavailable
        from google.api_core.retry import Retry, if_exception_type

        self._client = client
        self._retry = Retry(
            predicate=if_exception_type(ServiceUnavailable),
            initial=0.1,
            maximum=1.0,
            timeout=EXPORT_SECONDS,
        )

    def batch_write_spans(self, request: Any) -> None:
        """Send spans; raises what Google's client raises, but soon."""
        self._client.batch_write_spans(request, retry=self._retry, timeout=EXPORT_SECONDS)


Maker = Callable[[Mapping[str, str]], SpanExporter]

MAKERS: Mapping[str, Maker] = {
    "gcp_trace": _cloud_trace_exporter,
    "otlp": _otlp_exporter,
    "console": _console_exporter,
}
"""Every exporter, by the name that ``OTEL_TRACES_EXPORTER`` has for it."""
