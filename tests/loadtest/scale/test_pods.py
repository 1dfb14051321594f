"""Worker pods, as kubectl lists them."""

from pathlib import Path
from typing import Any

import pytest

from loadtest.scale.pods import Pods, count_pods
from loadtest.scale.samples import WorkerNodes
from serve_app.errors import UserError


def pod(phase: str, *, ready: bool = False, node: str | None = None, **metadata: str) -> Any:
    return {
        "metadata": metadata,
        "spec": {"nodeName": node} if node else {},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def test_pods_are_counted_by_what_they_are_good_for() -> None:
    """Desired: all that live; running: the ready ones; machines: where they are."""
    pods = [
        pod("Running", ready=True, node="a"),
        pod("Running", ready=True, node="a"),
        pod("Running", node="b"),
        pod("Pending"),
        pod("Failed", node="c"),
        pod("Running", ready=True, node="d", deletionTimestamp="2026-01-01T00:00:00Z"),
    ]
    assert count_pods(pods) == WorkerNodes(desired=4, running=2, machines=2)


def test_kubectl_is_asked_for_the_namespaces_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real process is run; here it says what it was asked."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho \'{{"items": []}}\'\n')
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert Pods("iris").nodes() == WorkerNodes(desired=0, running=0, machines=0)
    asked = (tmp_path / "asked").read_text()
    assert "--namespace=iris get pods --selector=ray.io/node-type=worker" in asked


@pytest.mark.parametrize("script", ["echo 'no such namespace' >&2; exit 1", "echo hello"])
def test_kubectl_that_fails(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words become one clear line."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f"#!/bin/sh\n{script}\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(UserError, match="kubectl"):
        Pods("iris").nodes()


def test_no_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fix is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"kubectl.*omit --namespace"):
        Pods("iris").nodes()
