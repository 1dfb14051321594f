"""``serve-app k8s cluster``: what any cluster needs, once, and nothing before it can be done."""

import pytest

from deploy.cluster import OPERATOR_VALUES, PREREQUISITES
from serve_app.cli.main import main
from tests.deploy.fake_tools import FakeTools
from tests.support.command_lines import refused

CLUSTER = ["k8s", "cluster", "--context", "kind-kind"]


def changes(tools: FakeTools) -> list[str]:
    looks = ("config", "get", "list")
    return [
        " ".join(command[:1] + [word for word in command[1:] if not word.startswith("-")])
        for command in tools.commands
        if not any(word in looks for word in command)
    ]


def test_a_second_run_changes_nothing_that_is_there(tools: FakeTools) -> None:
    """Applied objects converge; KubeRay and the token stay."""
    assert main(CLUSTER) == 0
    first = changes(tools)
    before = tools.state
    tools.forget()
    assert main(CLUSTER) == 0

    assert first == [
        *["kubectl apply"] * 2,
        "helm upgrade kuberay-operator kuberay-operator",
        "kubectl create secret generic ray-auth",
    ]
    assert changes(tools) == first[:-1]
    assert tools.state == before


def test_the_prerequisites_are_those_of_the_package(tools: FakeTools) -> None:
    """They are applied from any directory, in every command with the context that was named."""
    assert main(CLUSTER) == 0

    assert any(f"--kustomize={PREREQUISITES}" in command for command in tools.commands)
    assert (PREREQUISITES / "kustomization.yaml").is_file()
    for command in tools.commands:
        if "config" not in command:
            assert command[1] in ("--context=kind-kind", "--kube-context=kind-kind")


def test_the_operator_gets_its_priority_and_its_gates(tools: FakeTools) -> None:
    """From prerequisites that come first; also where it is installed already."""
    assert main(CLUSTER) == 0

    lines = [" ".join(command) for command in tools.commands]
    (installed,) = [line for line in lines if " upgrade " in line]
    assert {f"--set={value}" for value in OPERATOR_VALUES} <= set(installed.split())
    applied = [line for line in lines if f"--kustomize={PREREQUISITES}" in line]
    assert lines.index(applied[0]) < lines.index(installed)


@pytest.mark.parametrize("missing", ["kubectl", "helm", "git"])
def test_a_missing_tool_is_named_before_anything_is_changed(
    tools: FakeTools, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Helm would be missed only after KubeRay's CRDs had been applied."""
    (tools.bin / missing).unlink()

    assert f"error: {missing} is not installed; see " in refused(main, CLUSTER, capsys)

    assert tools.commands == []


def test_an_unreachable_cluster_is_not_changed(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no missing role: one line, without that fix."""
    refusal = {"command": "--raw=/version", "times": 1, "message": "connection refused"}
    tools.update(failures=[refusal])

    assert main(CLUSTER) == 1

    assert capsys.readouterr().err == (
        "FAILED: the cluster of context kind-kind does not answer: ERROR: connection refused\n"
    )
    assert changes(tools) == []


def test_a_dry_run_needs_no_tool_and_runs_none(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints what a first run does, and no token."""
    (tools.bin / "helm").unlink()

    assert main([*CLUSTER, "--dry-run"]) == 0

    assert tools.commands == []
    printed = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("$ ") for line in printed) == 4
    assert printed[-1].endswith(
        "ray-auth --from-file=auth_token=/dev/stdin  # stdin: 32 random bytes"
    )


def test_a_refused_change_names_the_fix(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command, kubectl's words, and what to ask for."""
    refusal = {"command": " apply ", "times": 1, "message": "namespaces is forbidden"}
    tools.update(failures=[refusal])

    assert main(CLUSTER) == 1

    error = capsys.readouterr().err
    assert "namespaces is forbidden" in error
    assert "fix: You must be administrator of the cluster" in error
