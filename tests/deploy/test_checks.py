"""``serve-app k8s rollout traces`` and ``k8s diagnose``, against a recording kubectl."""

import os
import subprocess
import sys

import pytest

from deploy.checks import TRACING_CHECK
from serve_app.cli.main import main
from serve_app.ray_internals.nodes import SERVE_LOGS, SESSION_LOGS
from serve_app.tracing.check import SPAN_TAKEN
from tests.deploy.fake_tools import FakeTools
from tests.deploy.status_documents import OLD_CLUSTER, active, ray_pods

TRACES = ["k8s", "rollout", "traces"]


def test_spans_are_checked_in_the_head_and_a_worker_of_the_active_cluster(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has its own identity, and only the cluster that serves counts."""
    tools.update(objects=active(), pods=ray_pods(OLD_CLUSTER))

    assert main(TRACES) == 0

    execs = [command[2:] for command in tools.commands if "exec" in command]
    check = ["--", "serve-app", "traces", "check"]
    assert execs == [["exec", "pod/h", *check], ["exec", "pod/w", *check]]
    assert capsys.readouterr().out.splitlines() == [
        "pod/h: OK: ran serve-app traces check",
        "pod/w: OK: ran serve-app traces check",
    ]


def test_a_refused_span_fails_the_deployment_with_the_fix(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """The application's words, which name the missing grant, reach the log of the job."""
    words = "FAILED: exporter gcp_trace: permission denied; grant roles/cloudtrace.agent"
    tools.update(objects=active(), pods=ray_pods(OLD_CLUSTER), refusing={"pod/w": words})

    assert main(TRACES) == 1

    error = capsys.readouterr().err
    assert "pod/w cannot write spans" in error
    assert "grant roles/cloudtrace.agent" in error


def test_tracing_that_is_off_fails_the_deployment(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """The application exits with 0 then, since it was configured so; there would be no span."""
    words = "tracing is off; set OTEL_TRACES_EXPORTER to gcp_trace, otlp or console"
    tools.update(objects=active(), pods=ray_pods(OLD_CLUSTER), saying={"pod/w": words})

    assert main(TRACES) == 1

    assert f"pod/w wrote no span: {words}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "reason"),
    [({}, "no cluster serves yet"), ({"objects": active()}, "has no running head pod")],
)
def test_spans_need_running_pods(
    tools: FakeTools,
    state: dict[str, object],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No pod to ask is a failure, not a pass."""
    tools.update(**state)

    assert main(TRACES) == 1

    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(("exporter", "taken"), [("console", True), ("none", False)])
def test_the_application_says_whether_a_span_was_taken(exporter: str, taken: bool) -> None:
    """What runs in the pods begins a line as the rollout expects, and has the exit code of it."""
    done = subprocess.run(
        [sys.executable, "-m", "serve_app", *TRACING_CHECK[1:]],
        env={**os.environ, "OTEL_TRACES_EXPORTER": exporter},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == (0 if taken else 1)
    assert any(line.startswith(SPAN_TAKEN) for line in done.stdout.splitlines()) is taken


def test_a_diagnosis_survives_failing_commands(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """It runs when something is broken already: what fails is shown among the rest."""
    failure = {"command": "get events", "times": 1, "message": "events are forbidden"}
    nodes = ["pod/h", "pod/w"]
    tools.update(failures=[failure], objects=active(), pods={"ray.io/is-ray-node=yes": nodes})

    assert main(["k8s", "diagnose"]) == 0

    out = capsys.readouterr().out
    assert "events are forbidden" in out
    assert "(log lines)" in out
    for pod in nodes:
        assert f"exec {pod} -- sh -c tail --lines=200 {SESSION_LOGS}/{SERVE_LOGS}/*.log" in out


def test_what_a_failing_command_found_is_kept(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """One kind that may not be listed does not hide the others."""
    (tools.bin / "kubectl").write_text(
        "#!/bin/sh\n"
        'case "$*" in *--raw=/version) exit 0;; config*) echo kind-kind; exit 0; esac\n'
        "echo pod/w is Running\necho services are forbidden >&2\nexit 1\n"
    )

    assert main(["k8s", "diagnose"]) == 0

    out = capsys.readouterr().out
    assert "pod/w is Running" in out
    assert "services are forbidden" in out


def test_a_diagnosis_of_an_unreachable_cluster_is_one_line(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing else could be found out, and each section would repeat the reason."""
    refused = "The connection to the server 10.0.0.1 was refused"
    tools.update(failures=[{"command": "--raw=/version", "times": 1, "message": refused}])

    assert main(["k8s", "diagnose", "--context", "kind-kind"]) == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("FAILED: the cluster of context kind-kind does not answer: ")
    assert line.endswith(refused)
