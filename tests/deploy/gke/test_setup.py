"""``serve-app gke``: what is run, in which order, and that nothing is done twice."""

import base64
import json
from pathlib import Path

import pytest

from serve_app.cli.main import main
from tests.deploy.fake_tools import FakeTools
from tests.deploy.gke.commands import (
    CONVERGING,
    CREATES,
    SETUP,
    TEARDOWN,
    P,
    changes,
)
from tests.deploy.gke.conftest import Run


def test_first_run_creates_everything_in_order(first_run: Run) -> None:
    """The exact commands, what others need before what needs it, with the least rights."""
    assert first_run.code == 0
    assert changes(first_run.tools) == CREATES


def test_second_run_changes_nothing(installed: FakeTools) -> None:
    """Only commands that converge run again, and the state stays as it was."""
    before = installed.state

    assert main(SETUP) == 0

    assert changes(installed) == CONVERGING
    assert installed.state == before


def test_dry_run_prints_what_a_run_does_and_runs_nothing(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """The transcript is the first run, with placeholders for what only Google and GitHub know."""
    numbers = ["--repository-id=111", "--owner-id=222"]

    assert main([*SETUP, "--dry-run", *numbers]) == 0

    printed = capsys.readouterr().out.replace("PROJECT_NUMBER", "1234567890").splitlines()
    shown = [line[2:].partition("  # stdin: ")[0] for line in printed if line.startswith("$ ")]
    assert tools.commands == []
    assert shown == CREATES


def test_dry_run_needs_no_tool(
    tools: FakeTools, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It explains itself on a machine where nothing is installed."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main([*SETUP, "--dry-run"]) == 0


def test_token_is_random_and_never_shown(first_run: Run) -> None:
    """It travels by standard input only, and has 256 bits."""
    token = first_run.tools.state["objects"]["secret/ray-auth"]["data"]["auth_token"]
    assert len(base64.urlsafe_b64decode(token + "=")) == 32
    for text in (first_run.printed, json.dumps(first_run.tools.commands)):
        assert token not in text


def test_failure_stops_the_run_and_the_next_run_continues(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command, the tool's words and the fix are printed; what exists is not created again."""
    failure = {"command": "clusters create", "times": 1, "message": "Insufficient quota: CPUS"}
    tools.update(failures=[failure])
    stopped_at = next(i for i, line in enumerate(CREATES) if "clusters create" in line)

    assert main(SETUP) == 1
    first, error = changes(tools), capsys.readouterr().err
    tools.forget()
    assert main(SETUP) == 0

    assert first == CREATES[: stopped_at + 1]
    assert CREATES[stopped_at] in error
    assert "Insufficient quota: CPUS" in error
    assert "fix: Quota: lower --max-nodes" in error
    assert changes(tools) == CREATES[stopped_at:]


def test_grant_waits_for_a_new_account(tools: FakeTools) -> None:
    """IAM may deny for a while that an account exists which was just created."""
    failure = {
        "command": "--role=roles/container.defaultNodeServiceAccount",
        "times": 2,
        "message": "INVALID_ARGUMENT: Service account does not exist.",
    }
    tools.update(failures=[failure])

    assert main(SETUP) == 0

    assert sum("defaultNodeServiceAccount" in line for line in changes(tools)) == 3


def test_changed_repository_updates_the_condition(installed: FakeTools) -> None:
    """A provider that trusts anything else than asked for is corrected."""
    assert main([*SETUP, "--repository-id=333", "--owner-id=222"]) == 0

    [update] = [line for line in changes(installed) if "oidc" in line]
    assert "providers update-oidc serve-app-github" in update
    assert "repository_id == '\"'\"'333'\"'\"'" in update


def test_provider_of_another_issuer_is_corrected(installed: FakeTools) -> None:
    """The issuer of the accepted tokens decides which job may deploy."""
    providers = installed.state["iam/workload-identity-pools/providers"]
    providers["serve-app-github"]["oidc"]["issuerUri"] = "https://gitlab.example"
    installed.update(**{"iam/workload-identity-pools/providers": providers})

    assert main(SETUP) == 0

    [update] = [line for line in changes(installed) if "oidc" in line]
    assert "--issuer-uri=https://token.actions.githubusercontent.com" in update


def test_role_with_other_permissions_is_corrected(installed: FakeTools) -> None:
    """The deploying job may do what is written here, not what was added by hand."""
    roles = installed.state["iam/roles"]
    roles["serveAppDeployer"]["includedPermissions"].append("container.secrets.get")
    installed.update(**{"iam/roles": roles})

    assert main(SETUP) == 0

    [update] = [line for line in changes(installed) if "iam roles" in line]
    permissions = "--permissions=container.clusters.connect,container.clusters.get"
    assert update == f"gcloud iam roles update serveAppDeployer {P} {permissions}"


def test_what_others_named_in_the_project_is_left_alone(installed: FakeTools) -> None:
    """A pool `github` or a repository `quay` is not ours: neither changed nor deleted."""
    pool = {"name": "projects/p/locations/global/workloadIdentityPools/github"}
    pools = installed.state["iam/workload-identity-pools"] | {"github": pool}
    repositories = installed.state["artifacts/repositories"] | {"quay": {"name": "r/quay"}}
    installed.update(
        **{"iam/workload-identity-pools": pools, "artifacts/repositories": repositories}
    )

    assert main(SETUP) == 0
    assert changes(installed) == CONVERGING
    assert main([*TEARDOWN, "--images"]) == 0

    assert installed.state["iam/workload-identity-pools"]["github"] == pool
    assert list(installed.state["artifacts/repositories"]) == ["quay"]


@pytest.mark.parametrize("missing", ["gcloud", "gke-gcloud-auth-plugin", "kubectl", "helm", "git"])
def test_missing_tool_is_one_clear_line(
    tools: FakeTools, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is tried, and the line says where to get it."""
    (tools.bin / missing).unlink()

    assert main(SETUP) == 2

    error = capsys.readouterr().err
    assert error.startswith(f"error: {missing} is not installed; see ")
    assert error.count("\n") == 1
    assert tools.commands == []


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"account": ""}, "gcloud has no account; run: gcloud auth login"),
        ({"number": ""}, "project 'my-project' does not exist or me@example.com may not see it"),
        ({"gh": ""}, "the numbers of octo/serve-app are unknown"),
    ],
)
def test_wrong_account_project_or_repository_is_one_clear_line(
    tools: FakeTools,
    state: dict[str, str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, one line with the fix, and nothing was changed."""
    tools.update(**state)

    assert main(SETUP) == 2

    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert changes(tools) == []
