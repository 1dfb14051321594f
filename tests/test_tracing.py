"""Ray's tracing hook, the last flush and the check, against a local Cloud Trace."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from serve_app import exporters, tracing
from serve_app.delivery import ObservedProcessor
from serve_app.exporters import ENDPOINT_VARIABLE
from serve_app.telemetry import configure_logging
from tests.support.cloud_trace import CloudTrace, name_of


@pytest.fixture
def cloud_trace(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudTrace]:
    """A local Cloud Trace that the environment names."""
    with CloudTrace() as server:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "gcp_trace")
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
        monkeypatch.setenv(ENDPOINT_VARIABLE, server.endpoint)
        monkeypatch.setattr(exporters, "EXPORT_SECONDS", 0.5)
        yield server


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[TracerProvider]:
    """A tracer provider in the place of Ray's."""
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield provider
    provider.shutdown()


def test_hook_makes_one_processor(cloud_trace: CloudTrace, provider: TracerProvider) -> None:
    """Ray's hook is given one processor, and what it takes arrives when it is flushed."""
    (processor,) = tracing.span_processors()
    provider.add_span_processor(processor)
    provider.get_tracer("test").start_span("last request").end()
    assert tracing.flush() is True
    assert [name_of(span) for span in cloud_trace.spans] == ["last request"]


def test_hook_without_an_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no exporter there is no processor."""
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    assert tracing.span_processors() == []


def test_hook_survives_a_bad_exporter(
    monkeypatch: pytest.MonkeyPatch, provider: TracerProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """A misconfigured exporter costs the spans, never the replica; each lost span is counted."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    counted: list[tuple[str, int]] = []
    monkeypatch.setattr(
        tracing, "_span_counter", lambda: lambda outcome, n, _: counted.append((outcome, n))
    )
    logger = configure_logging()
    logger.addHandler(caplog.handler)
    try:
        (processor,) = tracing.span_processors()
        assert "spans will be lost: OTEL_TRACES_EXPORTER='zipkin' is unknown; fix: " in caplog.text
        provider.add_span_processor(processor)
        provider.get_tracer("test").start_span("lost").end()
        assert tracing.flush() is True
    finally:
        logger.removeHandler(caplog.handler)
    assert counted == [("failed", 1)]
    assert "spans failed: OTEL_TRACES_EXPORTER='zipkin' is unknown" in caplog.text


@pytest.mark.parametrize("exporter", ["", "none", "console"])
def test_an_exporter_without_the_hook_is_an_error_in_the_log(
    exporter: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Plain ``serve run`` makes no span, whatever exporter is named, and must say so."""
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    logger = configure_logging()
    logger.addHandler(caplog.handler)
    try:
        tracing.check_hook({"OTEL_TRACES_EXPORTER": exporter}, logger)
    finally:
        logger.removeHandler(caplog.handler)
    assert ("has no effect" in caplog.text) == (exporter == "console")


def test_the_hook_is_no_error(provider: TracerProvider, caplog: pytest.LogCaptureFixture) -> None:
    """With Ray's provider in place there is nothing to say."""
    logger = configure_logging()
    logger.addHandler(caplog.handler)
    try:
        tracing.check_hook({"OTEL_TRACES_EXPORTER": "console"}, logger)
    finally:
        logger.removeHandler(caplog.handler)
    assert caplog.text == ""


class _Stuck(SpanExporter):
    def __init__(self) -> None:
        self.released = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.released.wait(60)
        return SpanExportResult.SUCCESS


def test_flush_does_not_wait_for_a_stuck_exporter(
    provider: TracerProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """A shutdown goes on without the spans that an exporter does not take in time, and says so."""
    logger = configure_logging()
    logger.addHandler(caplog.handler)
    exporter = _Stuck()
    provider.add_span_processor(ObservedProcessor(exporter, lambda *_: None))
    provider.get_tracer("test").start_span("last request").end()
    assert tracing.flush(timeout_seconds=0.2) is False
    logger.removeHandler(caplog.handler)
    assert caplog.messages == [
        "the last spans are lost: the exporter did not take them within 0.2 s"
    ]
    exporter.released.set()


def test_flush_without_tracing() -> None:
    """Where Ray set no tracer provider there is nothing to flush."""
    assert tracing.flush() is True


def test_check_ok(cloud_trace: CloudTrace, capsys: pytest.CaptureFixture[str]) -> None:
    """A span that arrives is exit code 0, and the trace id that is printed is the one to find."""
    assert tracing.main(["check"]) == 0
    (span,) = cloud_trace.spans
    trace_id = span.name.split("/")[3]
    assert capsys.readouterr().out == (
        f"OK: exporter gcp_trace took the probe span of trace {trace_id}\n"
    )


def test_check_is_never_unsampled(cloud_trace: CloudTrace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe is sent whatever the sampler of the environment would say."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    assert tracing.check() == 0
    assert len(cloud_trace.spans) == 1


@pytest.mark.parametrize(
    ("break_it", "cause", "fix"),
    [
        (
            lambda server: server.refuse(grpc.StatusCode.PERMISSION_DENIED, "no such right"),
            "403 no such right",
            "grant roles/cloudtrace.agent",
        ),
        (lambda server: server.hang(), "504 Deadline Exceeded", "drops packets"),
    ],
)
def test_check_says_what_is_wrong(
    cloud_trace: CloudTrace,
    capsys: pytest.CaptureFixture[str],
    break_it: Callable[[CloudTrace], None],
    cause: str,
    fix: str,
) -> None:
    """A span that does not arrive is exit code 1, one line with cause and fix."""
    break_it(cloud_trace)
    assert tracing.check() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("FAILED: exporter gcp_trace: ")
    assert cause in line
    assert fix in line


def run_check(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if "OTEL" not in name}
    return subprocess.run(
        [sys.executable, "-m", "serve_app.tracing", "check"],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_check_command_unreachable() -> None:
    """As a command: nobody listens, exit code 1, nothing but the one line about it."""
    done = run_check(
        {
            "OTEL_TRACES_EXPORTER": "gcp_trace",
            "GOOGLE_CLOUD_PROJECT": "my-project",
            ENDPOINT_VARIABLE: "127.0.0.1:1",
        }
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "503 failed to connect" in line
    assert "check that connections to cloudtrace.googleapis.com:443 are possible" in line


def test_check_no_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without Google credentials: exit code 1 and how to get some."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "gcp_trace")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    assert tracing.check() == 1
    assert "fix: run `gcloud auth application-default login`" in capsys.readouterr().err


def test_check_with_a_disabled_sdk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """OpenTelemetry's own switch is named when it is what keeps spans from being made."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tracing.check() == 1
    assert capsys.readouterr().err == "FAILED: no span is made; fix: unset OTEL_SDK_DISABLED\n"


def test_check_unknown_exporter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exporter that does not exist: exit code 1 and those that do."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    assert tracing.check() == 1
    assert capsys.readouterr().err == (
        "FAILED: OTEL_TRACES_EXPORTER='zipkin' is unknown; "
        "fix: use one of gcp_trace, otlp, console, none\n"
    )


def test_check_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Tracing that is off is no failure, and the line says how to switch it on."""
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    assert tracing.check() == 0
    assert capsys.readouterr().out == (
        "tracing is off; set OTEL_TRACES_EXPORTER to gcp_trace, otlp or console\n"
    )
