"""Ray's tracing hook and the last flush, against a local Cloud Trace."""

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from serve_app.runtime.ports import LOOPBACK
from serve_app.telemetry.logs import LOGGER_NAME
from serve_app.tracing import hook
from serve_app.tracing.relay import RelayProcessor
from tests.support.cloud_trace import CloudTrace, name_of
from tests.support.waiting import wait_until

LOGGER = logging.getLogger(LOGGER_NAME)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[TracerProvider]:
    """A tracer provider in the place of Ray's."""
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield provider
    provider.shutdown()


def test_hook_makes_one_processor(named_cloud_trace: CloudTrace, provider: TracerProvider) -> None:
    """Ray's hook is given one processor, and what it takes arrives when it is flushed."""
    (processor,) = hook.span_processors()
    provider.add_span_processor(processor)
    provider.get_tracer("test").start_span("last request").end()
    assert hook.flush(60) is True  # the exporter starts slowly on a busy machine
    assert [name_of(span) for span in named_cloud_trace.spans] == ["last request"]


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_TRACES_EXPORTER": ""},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "True"},
    ],
)
def test_hook_without_an_exporter(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no exporter, or where the SDK makes no span, there is no processor and no process."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert hook.span_processors() == []


def test_hook_survives_a_bad_exporter(
    monkeypatch: pytest.MonkeyPatch, provider: TracerProvider, log: pytest.LogCaptureFixture
) -> None:
    """A misconfigured exporter costs the spans, never the replica; each lost span is counted."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    counted: list[tuple[str, int]] = []
    monkeypatch.setattr(
        hook, "_span_counter", lambda: lambda outcome, n, _: counted.append((outcome, n))
    )
    (processor,) = hook.span_processors()
    provider.add_span_processor(processor)
    provider.get_tracer("test").start_span("lost").end()
    assert hook.flush(60) is True  # the exporter starts slowly on a busy machine
    assert counted == [("failed", 1)]
    assert "spans will be lost: OTEL_TRACES_EXPORTER='zipkin' is unknown; fix: " in log.text
    assert "spans failed: OTEL_TRACES_EXPORTER='zipkin' is unknown" in log.text


def test_missing_credentials_are_named_before_the_first_span(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    provider: TracerProvider,
    log: pytest.LogCaptureFixture,
) -> None:
    """A service that samples few requests must not be silent until one is sampled."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "gcp_trace")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    provider.add_span_processor(*hook.span_processors())
    wait_until(lambda: "spans will be lost: OTEL_TRACES_EXPORTER=gcp_trace" in log.text)
    assert "fix: run `gcloud auth application-default login`" in log.text


def test_hook_does_not_wait_for_google(
    monkeypatch: pytest.MonkeyPatch, provider: TracerProvider, log: pytest.LogCaptureFixture
) -> None:
    """A metadata server that does not answer costs the start of a replica nothing."""
    with socket.create_server((LOOPBACK, 0)) as silent:
        host = f"{LOOPBACK}:{silent.getsockname()[1]}"
        for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):
            monkeypatch.setenv(name, host)
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "gcp_trace")
        started = time.monotonic()
        (processor,) = hook.span_processors()
        provider.add_span_processor(processor)
        assert time.monotonic() - started < 2  # Google's library would wait 9 s
    assert log.text == ""


@pytest.mark.parametrize("exporter", ["", "none", "console"])
def test_an_exporter_without_the_hook_is_an_error_in_the_log(
    exporter: str, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    """Plain ``serve run`` makes no span, even if an exporter is named, and must say so."""
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    hook.check_hook({"OTEL_TRACES_EXPORTER": exporter}, LOGGER)
    assert ("has no effect" in log.text) == (exporter == "console")


def test_the_hook_is_no_error(provider: TracerProvider, log: pytest.LogCaptureFixture) -> None:
    """With Ray's provider in place there is nothing to say."""
    hook.check_hook({"OTEL_TRACES_EXPORTER": "console"}, LOGGER)
    assert log.text == ""


def test_flush_does_not_wait_for_a_stuck_exporter(
    named_cloud_trace: CloudTrace, provider: TracerProvider, log: pytest.LogCaptureFixture
) -> None:
    """A shutdown goes on without the spans that an exporter does not take in time, and says so."""
    named_cloud_trace.hang()
    provider.add_span_processor(*hook.span_processors())
    provider.get_tracer("test").start_span("last request").end()
    assert hook.flush(timeout_seconds=0.2) is False
    assert log.messages == ["the last spans are lost: the exporter did not take them within 0.2 s"]
    named_cloud_trace.work()


def test_flush_without_tracing() -> None:
    """Where Ray set no tracer provider there is nothing to flush."""
    assert hook.flush(60) is True  # the exporter starts slowly on a busy machine


def test_the_last_flush_ends_the_export(
    named_cloud_trace: CloudTrace, provider: TracerProvider, log: pytest.LogCaptureFixture
) -> None:
    """Ray kills what a replica leaves behind; nobody is told of that as of a failure."""
    (processor,) = hook.span_processors()
    provider.add_span_processor(processor)
    provider.get_tracer("test").start_span("last request").end()
    assert isinstance(processor, RelayProcessor)
    assert hook.flush(60) is True  # the exporter starts slowly on a busy machine
    wait_until(lambda: processor.relay.child_pid is None)
    assert log.text == ""
