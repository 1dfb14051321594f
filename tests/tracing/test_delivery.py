"""What becomes of spans when Cloud Trace takes, refuses or ignores them, over real gRPC."""

import logging
import threading
from collections.abc import Callable, Sequence

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from serve_app.tracing.delivery import (
    FailureReporter,
    ObservedExporter,
    SpanOutcome,
)
from serve_app.tracing.exporters import ENDPOINT_VARIABLE, make_exporter
from serve_app.tracing.failures import QUEUE_FULL, ExportFailure
from tests.support.cloud_trace import CloudTrace

DENIED = ExportFailure("403", "grant the role")
NETWORK = ExportFailure("503", "open the port")


class Outcomes:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[SpanOutcome, int, ExportFailure | None]] = []

    def __call__(self, outcome: SpanOutcome, spans: int, failure: ExportFailure | None) -> None:
        self.told.append((outcome, spans, failure))


def make_spans(count: int) -> list[ReadableSpan]:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    spans = [tracer.start_span(f"span {number}") for number in range(count)]
    for span in spans:
        span.end()
    return [span for span in spans if isinstance(span, ReadableSpan)]


def cloud_trace_exporter(endpoint: str) -> SpanExporter:
    exporter = make_exporter(
        {
            "OTEL_TRACES_EXPORTER": "gcp_trace",
            "GOOGLE_CLOUD_PROJECT": "my-project",
            ENDPOINT_VARIABLE: endpoint,
        }
    )
    assert exporter is not None
    return exporter


def test_exported(cloud_trace: CloudTrace) -> None:
    """Spans that arrive are counted as exported."""
    outcomes = Outcomes()
    observed = ObservedExporter(cloud_trace_exporter(cloud_trace.endpoint), outcomes)
    assert observed.export(make_spans(3)) is SpanExportResult.SUCCESS
    assert outcomes.told == [("exported", 3, None)]
    assert len(cloud_trace.spans) == 3


@pytest.mark.parametrize(
    ("break_it", "cause"),
    [
        (lambda s: s.refuse(grpc.StatusCode.PERMISSION_DENIED, "no"), "PermissionDenied: 403 no"),
        (lambda s: s.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "quota"), "429 quota"),
        (lambda s: s.refuse(grpc.StatusCode.UNAVAILABLE, "later"), "last exception: 503 later"),
        (lambda s: s.hang(), "504 Deadline Exceeded"),
    ],
)
def test_failed(
    cloud_trace: CloudTrace,
    impatient: None,
    caplog: pytest.LogCaptureFixture,
    break_it: Callable[[CloudTrace], None],
    cause: str,
) -> None:
    """Each kind of failure ends by itself, is told with its cause, and leaves no stack trace."""
    outcomes = Outcomes()
    observed = ObservedExporter(cloud_trace_exporter(cloud_trace.endpoint), outcomes)
    break_it(cloud_trace)
    assert observed.export(make_spans(2)) is SpanExportResult.FAILURE
    ((outcome, spans, failure),) = outcomes.told
    assert (outcome, spans) == ("failed", 2)
    assert failure is not None
    assert cause in failure.cause
    assert caplog.records == []


def test_short_unavailability_loses_nothing(cloud_trace: CloudTrace) -> None:
    """A server that is back after a moment gets the spans: unavailability is retried."""
    cloud_trace.refuse(grpc.StatusCode.UNAVAILABLE, "restarting")
    timer = threading.Timer(0.3, cloud_trace.work)
    timer.start()
    outcomes = Outcomes()
    ObservedExporter(cloud_trace_exporter(cloud_trace.endpoint), outcomes).export(make_spans(1))
    timer.join()
    assert outcomes.told == [("exported", 1, None)]
    assert cloud_trace.requests > 1


def test_otlp_failure_is_told_every_time(
    impatient: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The OTLP exporter hides log lines that repeat; their reason is told all the same."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    exporter = make_exporter({"OTEL_TRACES_EXPORTER": "otlp"})
    assert exporter is not None
    outcomes = Outcomes()
    observed = ObservedExporter(exporter, outcomes)
    for _ in range(2):
        observed.export(make_spans(1))
    assert len(outcomes.told) == 2
    for _, _, failure in outcomes.told:
        assert failure is not None
        assert "127.0.0.1:1, error code: StatusCode.UNAVAILABLE" in failure.cause
        assert "OTEL_EXPORTER_OTLP_ENDPOINT" in failure.fix
    assert caplog.records == []


class _Raises(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise RuntimeError("broken")


def test_exporter_that_raises() -> None:
    """Even an exporter that raises does no harm, and the exception is the cause."""
    outcomes = Outcomes()
    assert ObservedExporter(_Raises(), outcomes).export(make_spans(1)) is SpanExportResult.FAILURE
    ((outcome, _, failure),) = outcomes.told
    assert outcome == "failed"
    assert failure is not None
    assert failure.cause == "RuntimeError: broken"


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def report(clock: Clock) -> FailureReporter:
    return FailureReporter(logging.getLogger("test.delivery"), every_seconds=60, clock=clock)


def test_first_failure_is_logged_at_once(
    report: FailureReporter, caplog: pytest.LogCaptureFixture
) -> None:
    """The first failure is one error line with cause, fix and the number of spans lost."""
    report("failed", 5, DENIED)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == "spans failed: 403"
    assert record.__dict__["fields"] == {"cause": "403", "fix": "grant the role", "spans_lost": 5}


def test_repeated_failure_is_logged_once_a_minute(
    report: FailureReporter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """What repeats is added up, and logged when the minute is over."""
    for _ in range(60):
        report("failed", 2, DENIED)
        clock.now += 1
    assert len(caplog.records) == 1
    report("failed", 2, DENIED)
    assert len(caplog.records) == 2
    assert caplog.records[1].__dict__["fields"]["spans_lost"] == 2 * 60


def test_another_failure_is_logged_at_once(
    report: FailureReporter, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure of another kind does not wait for the minute of the first."""
    report("failed", 1, DENIED)
    report("failed", 1, NETWORK)
    report("dropped", 7, QUEUE_FULL)
    assert [record.getMessage() for record in caplog.records] == [
        "spans failed: 403",
        "spans failed: 503",
        f"spans dropped: {QUEUE_FULL.cause}",
    ]


def test_recovery_is_logged_once(report: FailureReporter, caplog: pytest.LogCaptureFixture) -> None:
    """Recovery is said once; an export that fails every other time does not flood the log."""
    caplog.set_level(logging.INFO)
    for _ in range(10):
        report("failed", 1, DENIED)
        report("exported", 1, None)
    assert [record.getMessage() for record in caplog.records] == [
        "spans failed: 403",
        "span export works again",
    ]
