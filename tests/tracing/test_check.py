"""The command that asks whether spans arrive, against a local Cloud Trace."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc
import pytest

from serve_app.tracing import check
from serve_app.tracing.exporters import ENDPOINT_VARIABLE
from tests.support.cloud_trace import CloudTrace


def test_check_ok(cloud_trace: CloudTrace, capsys: pytest.CaptureFixture[str]) -> None:
    """A span that arrives is exit code 0, and the trace id that is printed is the one to find."""
    assert check.main(["check"]) == 0
    (span,) = cloud_trace.spans
    trace_id = span.name.split("/")[3]
    assert capsys.readouterr().out == (
        f"OK: exporter gcp_trace took the probe span of trace {trace_id}\n"
    )


def test_check_is_never_unsampled(cloud_trace: CloudTrace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe is sent whatever the sampler of the environment would say."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    assert check.check() == 0
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
    assert check.check() == 1
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
    assert check.check() == 1
    assert "fix: run `gcloud auth application-default login`" in capsys.readouterr().err


def test_check_with_a_disabled_sdk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """OpenTelemetry's own switch is named when it is what keeps spans from being made."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert check.check() == 1
    assert capsys.readouterr().err == "FAILED: no span is made; fix: unset OTEL_SDK_DISABLED\n"


def test_check_unknown_exporter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exporter that does not exist: exit code 1 and those that do."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    assert check.check() == 1
    assert capsys.readouterr().err == (
        "FAILED: OTEL_TRACES_EXPORTER='zipkin' is unknown; "
        "fix: use one of gcp_trace, otlp, console, none\n"
    )


def test_check_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Tracing that is off is no failure, and the line says how to switch it on."""
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    assert check.check() == 0
    assert capsys.readouterr().out == (
        "tracing is off; set OTEL_TRACES_EXPORTER to gcp_trace, otlp or console\n"
    )
