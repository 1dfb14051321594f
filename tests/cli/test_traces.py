"""``serve-app traces check`` in a process of its own: exporters and gRPC write to its streams."""

import os
import subprocess
import sys
from collections.abc import Mapping

import grpc
import pytest

from serve_app.tracing.check import SPAN_TAKEN, TRACING_IS_OFF
from serve_app.tracing.exporters import ENDPOINT_VARIABLE
from tests.support.cloud_trace import CloudTrace


def run_check(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if "OTEL" not in name}
    return subprocess.run(
        [sys.executable, "-m", "serve_app", "traces", "check"],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def tracing_to(endpoint: str) -> dict[str, str]:
    return {
        "OTEL_TRACES_EXPORTER": "gcp_trace",
        "GOOGLE_CLOUD_PROJECT": "my-project",
        ENDPOINT_VARIABLE: endpoint,
    }


def test_a_span_that_arrives_is_exit_code_0() -> None:
    """Nothing but the line about it is printed."""
    with CloudTrace() as server:
        done = run_check(tracing_to(server.endpoint))
        assert len(server.spans) == 1
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{SPAN_TAKEN} exporter gcp_trace took the probe span of trace ")


def test_a_span_that_is_lost_is_exit_code_1() -> None:
    """Nothing but the one line about cause and fix is printed."""
    with CloudTrace() as server:
        server.refuse(grpc.StatusCode.PERMISSION_DENIED, "no such right")
        done = run_check(tracing_to(server.endpoint))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("FAILED: exporter gcp_trace: ")
    assert "403 no such right; fix: grant roles/cloudtrace.agent" in line


@pytest.mark.parametrize("environment", [{}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_tracing_that_is_off_is_exit_code_1(environment: dict[str, str]) -> None:
    """No span arrives, which is what was asked; the line says how to switch it on."""
    done = run_check(environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"FAILED: {TRACING_IS_OFF}\n"
