"""``serve-app k8s rollout`` and ``k8s status``, against a recording kubectl."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from deploy.rollout import POLL_SECONDS, SETTLE_SECONDS, wait
from deploy.shell import CommandError
from deploy.status import RolloutState, Verdict
from serve_app.cli.main import main
from serve_app.errors import CheckFailedError
from tests.deploy import status_documents as documents
from tests.deploy.fake_tools import FakeTools
from tests.deploy.status_documents import NEW, OLD, OLD_CLUSTER

ROLLOUT = ["k8s", "rollout"]
READY = Verdict(RolloutState.READY, "it serves")
WAITING = Verdict(RolloutState.WAITING, "it starts")
FAILED = Verdict(RolloutState.FAILED, "it broke")


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
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

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deploy.rollout.time", clock)
        wait(look, deadline)
    return clock.now


def manifest(image: str) -> str:
    service = documents.ray_service(image, generation=1, observed=None, conditions=[])
    del service["status"], service["metadata"]["generation"]
    return yaml.safe_dump(service)


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

    with pytest.raises(CheckFailedError, match="it broke"):
        wait_for([WAITING, FAILED])


def test_wait_ends_at_its_own_deadline_with_the_last_reason() -> None:
    """KubeRay never gives up on an upgrade; the wait does."""
    with pytest.raises(CheckFailedError, match="not ready after 60 s: it starts"):
        wait_for([WAITING], deadline=60.0)


def test_unreachable_cluster_is_waited_for() -> None:
    """A control plane that is upgraded does not fail a deployment."""
    error = CommandError(["kubectl", "get"], "failed", "connection refused")

    assert wait_for([error, error, READY]) == 2 * POLL_SECONDS + SETTLE_SECONDS
    with pytest.raises(CheckFailedError, match="connection refused"):
        wait_for([error], deadline=60.0)


def test_wait_looks_at_the_service_and_its_active_cluster(
    tools: FakeTools, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line reads both documents in the right namespace."""
    tools.update(objects=documents.active())

    assert main([*ROLLOUT, "wait", "--context=kind-kind"]) == 0

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
    assert main([*ROLLOUT, "wait"]) == 1

    assert "FAILED: there is no RayService serve-app/classifier" in capsys.readouterr().err


def test_apply_sends_the_manifest(tools: FakeTools, tmp_path: Path) -> None:
    """Server-side, so that fields which the manifest no longer has go away."""
    file = tmp_path / "manifest.yaml"
    file.write_text(manifest(NEW))

    assert main([*ROLLOUT, "apply", str(file)]) == 0

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

    assert main([*ROLLOUT, "apply", str(file)]) == 0

    verbs = [command[2] for command in tools.commands]
    assert verbs == ["get", "delete", "apply"]


def test_rollback_returns_to_the_recorded_manifest(
    tools: FakeTools, quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Record, deploy something that fails, go back: the old specification is applied again."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(manifest(OLD))
    bad.write_text(manifest(NEW))
    tools.update(objects=documents.active())
    assert main([*ROLLOUT, "record", str(good)]) == 0
    assert main([*ROLLOUT, "apply", str(bad)]) == 0
    service = documents.upgrading(documents.application("DEPLOY_FAILED", "no such model"))
    tools.update(objects=tools.state["objects"] | {"rayservice/classifier": service})
    assert main([*ROLLOUT, "wait"]) == 1
    assert "no such model" in capsys.readouterr().err
    tools.forget()

    # KubeRay has not reacted to the old manifest when the short deadline is over.
    assert main([*ROLLOUT, "rollback", "--deadline=0"]) == 1

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
    tools.update(objects=documents.active())
    main([*ROLLOUT, "record", str(good)])

    assert main([*ROLLOUT, "rollback"]) == 0


def test_rollback_without_a_record_says_so(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first deployment has nothing to go back to, and nothing is touched."""
    assert main([*ROLLOUT, "rollback"]) == 1

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

    assert main([*ROLLOUT, "apply", str(file)]) == 1

    error = capsys.readouterr().err
    assert "apply --server-side" in error
    assert "cannot patch rayservices" in error


def test_status_looks_once(tools: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 and the verdict where it serves; 1 and the reason where it does not, yet."""
    tools.update(objects=documents.active())
    assert main(["k8s", "status"]) == 0
    assert capsys.readouterr().out == (
        f"ready: cluster {OLD_CLUSTER} serves generation 1 on 3 endpoints\n"
    )

    tools.update(
        objects=documents.active() | {"rayservice/classifier": documents.upgrading()},
    )
    assert main(["k8s", "status"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("FAILED: waiting: cluster ")


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["diagnose"],
        ["rollout", "wait"],
        ["rollout", "traces"],
        ["rollout", "rollback"],
        ["cluster"],
    ],
)
def test_an_unknown_context_is_named_at_once(
    tools: FakeTools, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a mistyped name: no missing role, and no cluster is asked."""
    assert main(["k8s", *command, "--context", "kind-kidn"]) == 2

    assert capsys.readouterr().err == (
        "error: kubectl has no context 'kind-kidn'; it has kind-kind\n"
    )
    assert tools.commands == []


@pytest.mark.parametrize("command", ["apply", "record"])
def test_a_missing_manifest_is_one_line(
    tools: FakeTools, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is named, and nothing is run."""
    assert main([*ROLLOUT, command, "no/manifest.yaml"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert "no/manifest.yaml" in line
    assert tools.commands == []
