"""The check that spans arrive, against a local Cloud Trace; the command is in tests/cli."""

import re
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from serve_app.tracing import check as checking
from serve_app.tracing.check import (
    SPAN_TAKEN,
    TRACING_IS_OFF,
    SpanLostError,
    TracingOffError,
    check,
)
from tests.support.cloud_trace import CloudTrace


def test_a_span_that_arrives(named_cloud_trace: CloudTrace) -> None:
    """The trace id in the answer is the one to find."""
    told = check()
    (span,) = named_cloud_trace.spans
    trace_id = span.name.split("/")[3]
    assert told == f"{SPAN_TAKEN} exporter gcp_trace took the probe span of trace {trace_id}"


def test_the_probe_is_never_unsampled(
    named_cloud_trace: CloudTrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe is sent even if the sampler of the environment drops every span."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    check()
    assert len(named_cloud_trace.spans) == 1


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda server: server.refuse(grpc.StatusCode.PERMISSION_DENIED, "no such right"),
            "gcp_trace: .*403 no such right; fix: grant roles/cloudtrace.agent",
        ),
        (CloudTrace.hang, "gcp_trace: .*504 Deadline Exceeded; fix: .*drops packets"),
    ],
)
def test_a_span_that_does_not_arrive(
    named_cloud_trace: CloudTrace,
    impatient: None,
    break_it: Callable[[CloudTrace], None],
    message: str,
) -> None:
    """The error gives cause and fix in one line."""
    break_it(named_cloud_trace)
    with pytest.raises(SpanLostError, match=f"^exporter {message}") as error:
        check()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {
                "OTEL_TRACES_EXPORTER": "gcp_trace",
                "GOOGLE_APPLICATION_CREDENTIALS": "{directory}/none.json",
            },
            "fix: run `gcloud auth application-default login`",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"},
            "no span is made; fix: unset OTEL_SDK_DISABLED",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER='zipkin' is unknown; fix: use one of gcp_trace, otlp, console",
        ),
    ],
)
def test_an_environment_that_sends_no_span(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], message: str
) -> None:
    """No credentials, OpenTelemetry's own switch, an unknown exporter: each has its fix."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(directory=tmp_path))
    with pytest.raises(SpanLostError, match=message):
        check()


def test_tracing_that_is_off_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to switch it on."""
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    with pytest.raises(TracingOffError, match=re.escape(TRACING_IS_OFF)):
        check()


def test_a_check_has_a_bound(
    named_cloud_trace: CloudTrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing answers, and nothing fails either, the error says what to look at."""
    named_cloud_trace.hang()
    monkeypatch.setattr(checking, "CHECK_SECONDS", 1.0)
    with pytest.raises(SpanLostError, match=r"gcp_trace: no answer within 1 s; fix: check name"):
        check()
