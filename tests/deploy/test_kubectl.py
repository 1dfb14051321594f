"""deploy.kubectl and deploy.shell: what every command to a cluster has in common."""

import pytest

from deploy.kubectl import Kubectl
from deploy.shell import CommandError, Shell, ToolMissingError
from serve_app.errors import CheckFailedError, UserError
from tests.deploy.fake_tools import FakeTools


@pytest.fixture
def kubectl(tools: FakeTools) -> Kubectl:
    return Kubectl(Shell(), "kind-kind", namespace="mine", seconds=5.0)


def write_kubectl(tools: FakeTools, script: str) -> None:
    (tools.bin / "kubectl").write_text(f"#!/bin/sh\n{script}\n")


def test_documents_are_listed_by_labels_without_an_echo(
    kubectl: Kubectl, tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """Context, namespace and selector reach kubectl; nothing is printed."""
    write_kubectl(tools, """echo "{\\"items\\": [{\\"asked\\": \\"$*\\"}]}" """)

    (document,) = kubectl.list("pods", "a=b")

    assert document["asked"] == (
        "--context=kind-kind --namespace=mine get pods --selector=a=b -ojson"
    )
    assert capsys.readouterr().out == ""


def test_a_read_has_a_time_limit(tools: FakeTools) -> None:
    """A control plane that does not answer must not stop a measurement."""
    write_kubectl(tools, "exec /bin/sleep 60")

    with pytest.raises(CommandError, match=r"get pods .* did not answer within 0\.1 s"):
        Kubectl(Shell(), seconds=0.1).list("pods", "a=b")


def test_a_failure_shows_the_command_and_its_words(kubectl: Kubectl, tools: FakeTools) -> None:
    """One line where kubectl says one; all of them where it says more."""
    write_kubectl(tools, "echo 'pods is forbidden' >&2; exit 1")
    with pytest.raises(CommandError) as failed:
        kubectl.get("pod", "p")
    assert str(failed.value) == (
        "kubectl --context=kind-kind --namespace=mine get pod p --ignore-not-found -ojson "
        "failed (exit code 1): pods is forbidden"
    )

    write_kubectl(tools, "echo first >&2; echo second >&2; exit 1")
    with pytest.raises(CommandError, match="first\n  second"):
        kubectl.get("pod", "p")


def test_an_unknown_context_and_an_unreachable_cluster_are_told_apart(
    kubectl: Kubectl, tools: FakeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first names the contexts that there are, the second kubectl's last words."""
    kubectl.check_context()
    tools.update(contexts=["gke_p_r_c", "minikube"])
    with pytest.raises(UserError, match="'kind-kind'; it has gke_p_r_c, minikube"):
        kubectl.check_context()

    tools.update(contexts=[])
    nowhere = Kubectl(kubectl.shell)
    with pytest.raises(UserError, match="kubectl has no context; make one"):
        nowhere.check_context()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    nowhere.check_context()

    kubectl.check_reachable()
    write_kubectl(tools, "echo noise >&2; echo 'error: connection refused' >&2; exit 1")
    with pytest.raises(CheckFailedError, match=r"does not answer: connection refused$"):
        kubectl.check_reachable()


def test_a_missing_program_is_named_with_where_to_get_it(
    kubectl: Kubectl, tools: FakeTools
) -> None:
    """Nothing could be tried: no failed command."""
    (tools.bin / "kubectl").unlink()

    with pytest.raises(ToolMissingError, match=r"^kubectl is not installed; see https://"):
        kubectl.get("pod", "p")
