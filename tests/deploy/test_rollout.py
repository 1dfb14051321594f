"""deploy.rollout: apply, wait, check, record and go back, against a recording kubectl."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.shell import CommandError
from deploy.rollout import POLL_SECONDS, SETTLE_SECONDS, RolloutError, main, wait
from deploy.status import Outcome, Verdict
from tests.kuberay import status_documents as documents
from tests.deploy.fake_tools import FakeTools
from tests.deploy.status_documents import NEW, OLD, OLD_CLUSTER

READY = Verdict(Outcome.READY, "it serves")
WAITING = Verdict(Outcome.WAITING, "it starts")
FAILED = Verdict(Outcome.FAILED, "it broke")


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def wait_for(verdicts: Iterable[Verdict | CommandError], deadline: float = 600.0) -> float:
    """Seconds that a wait took for a sequence of looks; the last one repeats for ever."""
    sequence = list(verdicts)
    clock = Clock()

    def look() -> Verdict:
        verdict = sequence.pop(0) if len(sequence) > 1 else sequence[0]
        if isinstance(verdict, CommandError):
            raise verdict
        return verdict

    wait(look, deadline, clock=clock, sleep=clock.sleep, say=lambda _line: None)
    return clock.now


def manifest(image: str) -> str:
    service = documents.ray_service(image, generation=1, observed=None, conditions=[])
    del service["status"], service["metadata"]["generation"]
    return yaml.safe_dump(service)


def serving() -> dict[str, dict[str, Any]]:
    cluster = documents.ray_cluster(OLD_CLUSTER, OLD)
    return {"rayservice/classifier": documents.serving(), f"raycluster/{OLD_CLUSTER}": cluster}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settling and hardly a pause: the documents do not change by themselves."""
    monkeypatch.setattr("deploy.rollout.SETTLE_SECONDS", 0.0)
    monkeypatch.setattr("deploy.rollout.POLL_SECONDS", 0.01)


def test_ready_counts_once_it_has_held() -> None:
    """A RUNNING that is still the old configuration's does not end the wait."""
    flicker = [WAITING, READY, WAITING, READY]

    assert wait_for(flicker) == 3 * POLL_SECONDS + SETTLE_SECONDS


def test_failure_counts_once_it_has_held() -> None:
    """An old failure may still be written where a new specification was just applied."""
    assert wait_for([FAILED, WAITING, READY]) == 2 * POLL_SECONDS + SETTLE_SECONDS

    with pytest.raises(RolloutError, match="it broke"):
        wait_for([WAITING, FAILED])


def test_wait_ends_at_its_own_deadline_with_the_last_reason() -> None:
    """KubeRay never gives up on an upgrade; the wait does."""
    with pytest.raises(RolloutError, match="not ready after 60 s: it starts"):
        wait_for([WAITING], deadline=60.0)


def test_unreachable_cluster_is_waited_for() -> None:
    """A control plane that is upgraded does not fail a deployment."""
    error = CommandError(["kubectl", "get"], 1, "connection refused")

    assert wait_for([error, error, READY]) == 2 * POLL_SECONDS + SETTLE_SECONDS
    with pytest.raises(RolloutError, match="connection refused"):
        wait_for([error], deadline=60.0)


def test_wait_looks_at_the_service_and_its_active_cluster(
    tools: FakeTools, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line reads both documents in the right namespace."""
    tools.update(objects=serving())

    assert main(["--context=kind-kind", "wait"]) == 0

    get = ["kubectl", "--context=kind-kind", "--namespace=serve-app", "get"]
    rest = ["--ignore-not-found", "-ojson"]
    assert tools.commands == [
        [*get, "rayservice", "classifier", *rest],
        [*get, "raycluster", OLD_CLUSTER, *rest],
    ]
    assert "ready: cluster classifier-7kq2w serves generation 1" in capsys.readouterr().out


def test_wait_fails_without_a_service(
    tools: FakeTools, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was applied: waiting cannot help."""
    assert main(["wait"]) == 1

    assert "wait: there is no RayService serve-app/classifier" in capsys.readouterr().err


def test_apply_sends_the_manifest(tools: FakeTools, tmp_path: Path) -> None:
    """Server-side, so that fields which the manifest no longer has go away."""
    file = tmp_path / "manifest.yaml"
    file.write_text(manifest(NEW))

    assert main(["apply", str(file)]) == 0

    call = tools.calls[-1]
    assert call["stdin"] == manifest(NEW)
    assert call["argv"] == [
        *("kubectl", "--namespace=serve-app", "apply", "--server-side", "--force-conflicts"),
        *("--field-manager=serve-app-rollout", "--filename=-"),
    ]


def test_apply_replaces_a_service_that_kuberay_has_given_up(
    tools: FakeTools, tmp_path: Path
) -> None:
    """After InitializingTimeout edits are ignored: delete first, then apply."""
    tools.update(objects={"rayservice/classifier": documents.timed_out()})
    file = tmp_path / "manifest.yaml"
    file.write_text(manifest(NEW))

    assert main(["apply", str(file)]) == 0

    verbs = [command[2] for command in tools.commands]
    assert verbs == ["get", "delete", "apply"]


def test_rollback_returns_to_the_recorded_manifest(
    tools: FakeTools, quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Record, deploy something that fails, go back: the old specification is applied again."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(manifest(OLD))
    bad.write_text(manifest(NEW))
    tools.update(objects=serving())
    assert main(["record", str(good)]) == 0
    assert main(["apply", str(bad)]) == 0
    service = documents.upgrading(documents.application("DEPLOY_FAILED", "no such model"))
    tools.update(objects=tools.state["objects"] | {"rayservice/classifier": service})
    assert main(["wait"]) == 1
    assert "no such model" in capsys.readouterr().err
    tools.forget()

    # KubeRay has not reacted to the old manifest when the short deadline is over.
    assert main(["rollback", "--deadline=0"]) == 1

    assert tools.calls[2]["stdin"] == manifest(OLD)
    restored = tools.state["objects"]["rayservice/classifier"]
    assert restored["spec"] == documents.serving()["spec"]
    assert restored["metadata"]["generation"] == 3
    assert "KubeRay has not seen generation 3 yet" in capsys.readouterr().err


def test_rollback_waits_until_the_old_manifest_serves(
    tools: FakeTools, quick: None, tmp_path: Path
) -> None:
    """Exit code 0 says that the service is back, not only that it was asked to come back."""
    good = tmp_path / "good.yaml"
    good.write_text(manifest(OLD))
    tools.update(objects=serving())
    main(["record", str(good)])

    assert main(["rollback"]) == 0


def test_rollback_without_a_record_says_so(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first deployment has nothing to go back to, and nothing is touched."""
    assert main(["rollback"]) == 1

    assert "nothing to go back to" in capsys.readouterr().err
    assert [command[2] for command in tools.commands] == ["get"]


def test_failing_kubectl_is_reported_with_its_words(
    tools: FakeTools, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, the command and what it said."""
    forbidden = {"command": " apply ", "times": 1, "message": "forbidden: cannot patch rayservices"}
    tools.update(failures=[forbidden])
    file = tmp_path / "manifest.yaml"
    file.write_text(manifest(NEW))

    assert main(["apply", str(file)]) == 1

    error = capsys.readouterr().err
    assert "apply --server-side" in error
    assert "cannot patch rayservices" in error


def test_traces_are_checked_in_the_head_and_a_worker_of_the_active_cluster(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has its own identity, and only the cluster that serves counts."""
    tools.update(objects=serving(), pods=pods(OLD_CLUSTER))

    assert main(["traces"]) == 0

    execs = [command[2:] for command in tools.commands if "exec" in command]
    check = ["--", "python", "-m", "serve_app.tracing", "check"]
    assert execs == [["exec", "pod/h", *check], ["exec", "pod/w", *check]]
    assert capsys.readouterr().out.splitlines() == [
        "pod/h: OK: ran python serve_app.tracing check",
        "pod/w: OK: ran python serve_app.tracing check",
    ]


def test_refused_span_fails_the_deployment_with_the_fix(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """The application's words, which name the missing grant, reach the log of the job."""
    words = "FAILED: exporter gcp_trace: permission denied; grant roles/cloudtrace.agent"
    tools.update(objects=serving(), pods=pods(OLD_CLUSTER), refusing={"pod/w": words})

    assert main(["traces"]) == 1

    error = capsys.readouterr().err
    assert "pod/w cannot write spans" in error
    assert "grant roles/cloudtrace.agent" in error


def test_tracing_that_is_off_fails_the_deployment(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """The application exits with 0 then, since it was configured so; nobody would see a span."""
    words = "tracing is off; set OTEL_TRACES_EXPORTER to gcp_trace, otlp or console"
    tools.update(objects=serving(), pods=pods(OLD_CLUSTER), saying={"pod/w": words})

    assert main(["traces"]) == 1

    assert f"pod/w wrote no span: {words}" in capsys.readouterr().err


def test_traces_need_running_pods(tools: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    """No pod to ask is a failure, not a pass."""
    tools.update(objects=serving())

    assert main(["traces"]) == 1

    assert "has no running head pod" in capsys.readouterr().err


def test_diagnosis_survives_failing_commands(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """It runs when something is broken already: what fails is shown among the rest."""
    failure = {"command": "get events", "times": 1, "message": "events are forbidden"}
    nodes = {"ray.io/is-ray-node=yes": ["pod/h", "pod/w"]}
    tools.update(failures=[failure], objects=serving(), pods=nodes)

    assert main(["diagnose"]) == 0

    out = capsys.readouterr().out
    assert "events are forbidden" in out
    assert "(log lines)" in out
    for pod in nodes["ray.io/is-ray-node=yes"]:
        assert f"exec {pod} -- sh -c tail --lines=200 /tmp/ray/session_latest/logs/serve/*" in out


def test_what_a_failing_command_found_is_kept(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """One kind that may not be listed does not hide the others."""
    kubectl = tools.bin / "kubectl"
    kubectl.write_text(
        "#!/bin/sh\necho pod/w is Running\necho services are forbidden >&2\nexit 1\n"
    )

    assert main(["diagnose"]) == 0

    out = capsys.readouterr().out
    assert "pod/w is Running" in out
    assert "services are forbidden" in out


def pods(cluster: str) -> dict[str, list[str]]:
    return {
        f"ray.io/cluster={cluster},ray.io/node-type=head": ["pod/h"],
        f"ray.io/cluster={cluster},ray.io/node-type=worker": ["pod/w", "pod/v"],
    }
