"""From a process that makes spans to a local Cloud Trace, through a process of its own."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from serve_app.telemetry.plain_spans import PlainSpan
from serve_app.tracing.delivery import SpanOutcome
from serve_app.tracing.failures import QUEUE_FULL, ExportFailure
from serve_app.tracing.relay import FRAME_SPANS, Relay, RelayProcessor, relay_of_process
from tests.support.cloud_trace import CloudTrace, name_of
from tests.support.waiting import wait_until

LONG = 60.0
"""Seconds that nothing here should take."""


def span_named(name: str) -> PlainSpan:
    return (name, "test", "", 0, 1, 2, 1, "", None, 1, 2, ({"a": 1},), (), 0, None)


class Told:
    """What an observer is told."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[SpanOutcome, int, ExportFailure | None]] = []
        self.unusable: list[ExportFailure] = []

    def __call__(self, outcome: SpanOutcome, spans: int, failure: ExportFailure | None) -> None:
        self.outcomes.append((outcome, spans, failure))

    def total(self, outcome: SpanOutcome) -> int:
        return sum(spans for found, spans, _ in self.outcomes if found == outcome)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def make(told: Told, named_cloud_trace: CloudTrace) -> Iterator[Callable[..., Relay]]:
    """Makes relays to the local Cloud Trace, and closes them."""
    made: list[Relay] = []

    def relay(**options: float) -> Relay:
        made.append(Relay(told, told.unusable.append, **options))  # type: ignore[arg-type]
        return made[-1]

    yield relay
    named_cloud_trace.work()
    for each in made:
        each.close()


def child_of(relay: Relay) -> int:
    wait_until(lambda: relay.child_pid is not None)
    assert relay.child_pid is not None
    return relay.child_pid


def test_spans_arrive_without_being_asked_for(
    make: Callable[..., Relay], told: Told, cloud_trace: CloudTrace
) -> None:
    """Within a moment, each once, and are told as exported."""
    relay = make(send_seconds=0.05)
    for number in range(3):
        relay.put(span_named(f"span {number}"))
    wait_until(lambda: told.total("exported") == 3)
    assert [name_of(span) for span in cloud_trace.spans] == ["span 0", "span 1", "span 2"]
    assert {failure for _, _, failure in told.outcomes} == {None}


def test_many_spans_do_not_wait(make: Callable[..., Relay], told: Told) -> None:
    """A whole frame is sent when it is there."""
    relay = make(send_seconds=LONG * 10)
    child_of(relay)
    for _ in range(FRAME_SPANS):
        relay.put(span_named("one of many"))
    wait_until(lambda: told.total("exported") == FRAME_SPANS)


def test_a_flush_waits_for_the_last_span(
    make: Callable[..., Relay], cloud_trace: CloudTrace
) -> None:
    """Also one right after the start, before there is a process that exports."""
    relay = make(send_seconds=LONG)
    relay.put(span_named("last"))
    assert relay.flush(LONG)
    assert [name_of(span) for span in cloud_trace.spans] == ["last"]


def test_a_failure_is_told_with_its_cause(
    make: Callable[..., Relay], told: Told, cloud_trace: CloudTrace
) -> None:
    """The flush knows the outcome, which is a loss."""
    cloud_trace.refuse(grpc.StatusCode.PERMISSION_DENIED, "no such right")
    relay = make()
    relay.put(span_named("refused"))
    assert relay.flush(LONG)
    ((outcome, spans, failure),) = told.outcomes
    assert (outcome, spans) == ("failed", 1)
    assert failure is not None
    assert failure.cause == "PermissionDenied: 403 no such right"
    assert "grant roles/cloudtrace.agent" in failure.fix


def test_a_full_queue_is_counted(
    make: Callable[..., Relay], told: Told, cloud_trace: CloudTrace
) -> None:
    """While the exporter hangs what does not fit is dropped and told; the rest arrives."""
    relay = make(max_spans=10, send_seconds=0.05)
    cloud_trace.hang()
    for number in range(25):
        relay.put(span_named(f"span {number}"))
    wait_until(lambda: told.total("dropped"))
    assert told.outcomes == [("dropped", 15, QUEUE_FULL)]
    cloud_trace.work()
    assert relay.flush(LONG)
    relay.put(span_named("there is room again"))
    assert relay.flush(LONG)
    assert told.total("exported") == len(cloud_trace.spans) == 11
    assert told.total("dropped") == 15


def test_a_hanging_exporter_holds_nobody_up(
    make: Callable[..., Relay], cloud_trace: CloudTrace
) -> None:
    """A flush gives up when its time is over; spans are taken all the while."""
    cloud_trace.hang()
    relay = make(send_seconds=0.05)
    relay.put(span_named("first"))
    wait_until(lambda: cloud_trace.requests)
    assert relay.flush(0.1) is False
    relay.put(span_named("second"))
    assert relay.flush(0.1) is False
    cloud_trace.work()
    assert relay.flush(LONG)


def test_a_killed_process_is_said_and_replaced(
    make: Callable[..., Relay], told: Told, cloud_trace: CloudTrace
) -> None:
    """What it was given is lost and counted; what comes afterwards arrives."""
    relay = make(send_seconds=0.05, restart_seconds=0.05)
    cloud_trace.hang()
    for _ in range(3):
        relay.put(span_named("lost"))
    wait_until(lambda: cloud_trace.requests)
    first = child_of(relay)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: told.outcomes)
    ((outcome, spans, failure),) = told.outcomes
    assert (outcome, spans) == ("failed", 3)
    assert failure is not None
    assert failure.cause == "the process that exports spans has ended: killed by SIGKILL"
    assert "it is started again" in failure.fix
    cloud_trace.work()
    relay.put(span_named("after"))
    assert relay.flush(LONG)
    assert child_of(relay) != first
    assert told.total("exported") == 1


def test_a_process_that_cannot_start_is_said(
    make: Callable[..., Relay], told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost as long as there is room; spans go out when it can."""
    with monkeypatch.context() as nowhere:
        nowhere.setattr(sys, "executable", "/nowhere/python")
        relay = make(restart_seconds=0.05)
        relay.put(span_named("kept"))
        wait_until(lambda: told.outcomes)
    outcome, spans, failure = told.outcomes[0]
    assert (outcome, spans) == ("failed", 0)
    assert failure is not None
    assert "cannot be started: [Errno 2]" in failure.cause
    assert relay.flush(LONG)
    assert told.total("exported") == 1


def test_an_observer_that_fails_stops_nothing(
    make: Callable[..., Relay],
    told: Told,
    log: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is logged, and the next outcome is told."""
    calls: list[int] = []
    original = Told.__call__

    def fail_once(self: Told, outcome: SpanOutcome, spans: int, failure: object) -> None:
        calls.append(spans)
        if len(calls) == 1:
            raise RuntimeError("no metrics")
        original(self, outcome, spans, None)

    monkeypatch.setattr(Told, "__call__", fail_once)
    relay = make()
    for _ in range(2):
        relay.put(span_named("span"))
        assert relay.flush(LONG)
    assert "spans could not be counted" in log.text
    assert told.total("exported") == 1


def test_closing_ends_the_process(make: Callable[..., Relay], cloud_trace: CloudTrace) -> None:
    """When it has exported what is left; also if it has just been started."""
    relay = make(send_seconds=LONG)
    relay.put(span_named("last"))
    pid = child_of(relay)
    relay.close()
    assert not os.path.exists(f"/proc/{pid}")  # noqa: PTH110
    assert [name_of(span) for span in cloud_trace.spans] == ["last"]
    make().close()


def test_the_console_is_that_of_this_process(
    make: Callable[..., Relay],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What the exporter prints is printed here, before its outcome is told."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    relay = make()
    relay.put(span_named("shown"))
    assert relay.flush(LONG)
    out, error = capfd.readouterr()
    assert json.loads(out)["name"] == "shown"
    assert error == ""


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    yield provider
    provider.shutdown()


def test_spans_of_the_sdk_go_the_same_way(
    make: Callable[..., Relay], provider: TracerProvider, cloud_trace: CloudTrace
) -> None:
    """Those that Ray makes; one that is not sampled does not."""
    processor = RelayProcessor(make())
    provider.add_span_processor(processor)
    provider.get_tracer("ray").start_span("request").end()
    unsampled = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    unsampled.add_span_processor(processor)
    unsampled.get_tracer("ray").start_span("not this one").end()
    assert provider.force_flush()
    assert [name_of(span) for span in cloud_trace.spans] == ["request"]


def test_the_relay_of_a_process_is_that_of_its_provider(
    make: Callable[..., Relay], provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is none without a provider of the SDK, or with one that exports otherwise."""
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    assert relay_of_process() is None
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    assert relay_of_process() is None
    relay = make()
    provider.add_span_processor(RelayProcessor(relay))
    assert relay_of_process() is relay
