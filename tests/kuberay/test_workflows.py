""".github/workflows: what they call exists, and they cannot do more than they must."""

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.gke.setup import github_variables
from deploy.gke.target import ENVIRONMENTS, GitHubRepository, Target
from deploy.names import (
    IMAGE,
    KUBERAY_COMMIT,
    KUBERAY_NAMESPACE,
    KUBERAY_VERSION,
    NAMESPACE,
    PUBLIC_SERVICE,
)
from deploy.rollout import _parser
from loadtest.driver.scenarios import SCENARIOS

PROJECT = Path(__file__).parents[2]
FILES = sorted((PROJECT / ".github" / "workflows").glob("*.yaml"))
TARGET = Target("p", "1", "r", GitHubRepository("octo/serve-app", "111", "222"))

DOCKERFILE = PROJECT / "Dockerfile"
Workflow = dict[Any, Any]


def load(name: str) -> Workflow:
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / name).read_text())
    return dict(workflow)


def steps(workflow: Workflow, job: str) -> list[dict[str, Any]]:
    return list(workflow["jobs"][job]["steps"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit(file: Path) -> None:
    """A tag can be moved to other code; the comment tells people and Dependabot the version."""
    used = re.findall(r"uses: (.+)", file.read_text())

    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\S+( #.*)?", action)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_rights_are_few(file: Path) -> None:
    """No right by default, no code of strangers with rights, no token left behind, a time limit."""
    workflow = load(file.name)

    # YAML reads the key `on` as true.
    assert "pull_request_target" not in workflow[True]
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert set(job["permissions"]) <= {"contents", "id-token"}
        assert job["permissions"]["contents"] == "read"
        assert "uses" in job or job["timeout-minutes"] <= 90
        for step in job.get("steps", []):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_google_is_reached_only_from_the_environments_that_it_trusts() -> None:
    """Without the right GitHub environment the token is refused."""
    jobs = load("deploy.yaml")["jobs"]

    with_token = {name for name, job in jobs.items() if "id-token" in job["permissions"]}
    assert with_token == set(ENVIRONMENTS)
    assert {name: jobs[name]["environment"] for name in with_token} == ENVIRONMENTS
    assert not any("id-token" in job["permissions"] for job in load("ci.yaml")["jobs"].values())


def test_variables_are_those_that_the_set_up_prints() -> None:
    """Nothing printed that nobody reads, no secret at all, and one that may stay unset."""
    texts = [file.read_text() for file in FILES]

    used = {name for text in texts for name in re.findall(r"vars\.(\w+)", text)}
    assert used == {*github_variables(TARGET), "PUBLIC_URL"}
    assert not any("secrets." in text for text in texts)


def test_rollout_commands_exist() -> None:
    """Every call parses with the options of the real command line."""
    pattern = re.compile(r"python -m kuberay\.rollout (.*?)(?:;|$)", re.MULTILINE)
    calls = [shlex.split(call) for file in FILES for call in pattern.findall(file.read_text())]

    assert len(calls) > 10
    for call in calls:
        assert isinstance(_parser().parse_args(call), argparse.Namespace)


def test_deployment_counts_only_when_every_check_passed() -> None:
    """Recorded last; rolled back after any failure once something was applied."""
    run = {
        match[1]: step
        for step in steps(load("deploy.yaml"), "deploy")
        if (match := re.search(r"kuberay\.rollout (\w+)", step.get("run", "")))
    }

    assert list(run) == ["apply", "wait", "smoke", "traces", "record", "diagnose", "rollback"]
    assert run["rollback"]["if"] == (
        "(failure() || cancelled()) && steps.apply.outcome != 'skipped'"
    )
    assert run["apply"]["id"] == "apply"
    assert not any("if" in run[name] for name in ("apply", "wait", "smoke", "traces", "record"))
    assert load("deploy.yaml")["concurrency"] == {"group": "deploy", "cancel-in-progress": False}


def test_every_build_of_a_release_is_of_one_base_image_by_digest() -> None:
    """Its tag could move between the two builds, and after them nobody would know what it was."""
    built = [step for step in steps(load("deploy.yaml"), "image") if "build-push" in str(step)]
    (pin,) = [step for step in steps(load("deploy.yaml"), "image") if step.get("id") == "base"]
    (name,) = re.findall(r"^ARG PYTHON_IMAGE=(.+)$", DOCKERFILE.read_text(), re.MULTILINE)

    assert len(built) == 2
    for step in built:
        arguments = step["with"]["build-args"].splitlines()
        assert "PYTHON_IMAGE=${{ steps.base.outputs.image }}" in arguments
    assert "s/^ARG PYTHON_IMAGE=//p" in pin["run"]
    assert "@" not in name


def test_only_the_model_that_was_built_passes_the_smoke_test() -> None:
    """The old cluster answers as well, with the model before."""
    jobs = load("deploy.yaml")["jobs"]
    (smoke,) = [step for step in jobs["deploy"]["steps"] if " smoke " in step.get("run", "")]

    assert '--model "$MODEL"' in smoke["run"]
    assert smoke["env"]["MODEL"] == "${{ needs.image.outputs.model }}"
    assert jobs["image"]["outputs"]["model"] == "${{ steps.model.outputs.version }}"


def test_upgrade_is_under_a_load_that_does_not_wait_for_answers() -> None:
    """Closed-loop users pause exactly when the service does: they would not see a gap."""
    (step,) = [s for s in steps(load("ci.yaml"), "end-to-end") if "Upgrade" in s.get("name", "")]
    (command,) = re.findall(r"locust (.*) &", step["run"])
    options = dict(word.lstrip("-").split("=") for word in command.split() if "=" in word)

    assert SCENARIOS[options["scenario"]].open_loop
    assert float(options["users"]) * float(options["user-rate"]) >= 100


def test_image_goes_out_by_digest_with_its_documents() -> None:
    """What is rendered is what was pushed; a tag could have moved in between."""
    workflow = load("deploy.yaml")
    push = next(step for step in steps(workflow, "image") if step.get("id") == "push")

    assert push["with"]["provenance"] == "mode=max"
    assert push["with"]["sbom"] is True
    reference = workflow["jobs"]["image"]["outputs"]["reference"]
    assert reference == "${{ vars.IMAGE }}@${{ steps.push.outputs.digest }}"


def test_pull_requests_run_what_nox_runs_locally() -> None:
    """The matrix is nox's default list of sessions."""
    noxfile = (PROJECT / "noxfile.py").read_text()
    default = re.search(r"nox\.options\.sessions = \[(.*)\]", noxfile)
    assert default
    sessions = load("ci.yaml")["jobs"]["check"]["strategy"]["matrix"]["session"]

    assert {session.partition("-")[0] for session in sessions} == set(
        re.findall(r"\"(\w+)\"", default[1])
    )


def test_names_are_those_of_the_manifests() -> None:
    """What the workflow looks up, and the CRDs it validates against, are the project's."""
    text = (PROJECT / ".github" / "workflows" / "ci.yaml").read_text()

    assert f"--namespace={NAMESPACE} expose service {PUBLIC_SERVICE} " in text
    assert set(re.findall(r"--namespace=(\S+)", text)) == {NAMESPACE, KUBERAY_NAMESPACE}
    pinned = re.findall(r"ref: ([0-9a-f]{40}) # v(\S+)", text)
    assert pinned == [(KUBERAY_COMMIT, KUBERAY_VERSION)]
    assert load("ci.yaml")["jobs"]["end-to-end"]["env"]["IMAGE"] == f"localhost/{IMAGE}"
