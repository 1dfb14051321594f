""".github/workflows: what they call exists, and they cannot do more than they must."""

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from deploy.gke.target import ENVIRONMENTS, GkeTarget
from deploy.names import IMAGE, KUBERAY_COMMIT, KUBERAY_VERSION
from serve_app.cli.main import cli
from studies.e2e.__main__ import e2e

PROJECT = Path(__file__).parents[2]
FILES = sorted((PROJECT / ".github" / "workflows").glob("*.yaml"))
TARGET = GkeTarget("my-project", "europe-west1", "octo/serve-app")

RELEASE_RIGHTS = {
    f"{right}: write" for right in ("attestations", "contents", "id-token", "packages")
}
"""Of the one job that publishes a release."""
DOCKERFILE = PROJECT / "Dockerfile"
Workflow = dict[Any, Any]


def load(name: str) -> Workflow:
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / name).read_text())
    return dict(workflow)


def steps(workflow: Workflow, job: str) -> list[dict[str, Any]]:
    return list(workflow["jobs"][job]["steps"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit(file: Path) -> None:
    """A tag can be moved to other code; the comment tells Dependabot the version."""
    used = re.findall(r"uses: (.+)", file.read_text())

    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\S+( #.*)?", action)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_rights_are_few(file: Path) -> None:
    """No right by default, no untrusted code with rights, no token left behind, a time limit."""
    workflow = load(file.name)

    # YAML reads the key `on` as true.
    assert "pull_request_target" not in workflow[True]
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        allowed = RELEASE_RIGHTS if name == "publish" else {"contents: read", "id-token: write"}
        assert {f"{right}: {level}" for right, level in job["permissions"].items()} <= allowed
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
    """Each printed one is used, one more may stay unset, and there is no secret."""
    texts = [file.read_text() for file in FILES]

    used = {name for text in texts for name in re.findall(r"vars\.(\w+)", text)}
    assert used == {*TARGET.github_variables, "PUBLIC_URL"}
    assert not any("secrets." in text for text in texts)


def test_commands_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call parses with the options of the real command line."""
    monkeypatch.chdir(tmp_path)
    Path("manifest.yaml").touch()
    pattern = re.compile(r"serve-app (k8s .*?)(?:;|$)", re.MULTILINE)
    calls = [call for file in FILES for call in pattern.findall(file.read_text())]

    assert len(calls) > 5
    for call in calls:
        parse(shlex.split(call))


def parse(arguments: list[str]) -> None:
    """Parse a command line of serve-app as far as its command, which does not run.

    Raises:
        click.UsageError: an unknown command or option, or a value that is refused.
    """
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        _, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command = found
    command.make_context(command.name, arguments)


def test_deployment_counts_only_when_every_check_passed() -> None:
    """Recorded last; rolled back after any failure once something was applied."""
    run = {
        match[1]: step
        for step in steps(load("deploy.yaml"), "deploy")
        if (match := re.search(r"serve-app k8s (?:rollout )?(\w+)", step.get("run", "")))
    }

    assert list(run) == [
        "render",
        "apply",
        "wait",
        "smoke",
        "traces",
        "record",
        "diagnose",
        "rollback",
    ]
    assert run["rollback"]["if"] == (
        "(failure() || cancelled()) && steps.apply.outcome != 'skipped'"
    )
    assert run["apply"]["id"] == "apply"
    assert not any("if" in run[name] for name in ("apply", "wait", "smoke", "traces", "record"))
    assert load("deploy.yaml")["concurrency"] == {"group": "deploy", "cancel-in-progress": False}


def test_every_build_of_a_release_is_of_one_base_image_by_digest() -> None:
    """Its tag could move between the two builds, and would not tell what the first one had."""
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


def test_the_end_to_end_run_is_the_one_that_anyone_can_start() -> None:
    """On the images that were built and loaded, and its options parse; no logic in the workflow."""
    workflow = load("ci.yaml")
    (command,) = [s["run"] for s in steps(workflow, "end-to-end") if "nox" in s.get("run", "")]
    options = command.partition(" --session e2e -- ")[2].split()
    context = e2e.make_context("e2e", options)
    built = [s["with"] for s in steps(workflow, "end-to-end") if "tags" in s.get("with", {})]
    image = workflow["jobs"]["end-to-end"]["env"]["IMAGE"]

    tags = [step["tags"].replace("${{ env.IMAGE }}", image) for step in built]
    assert tags == [context.params["image"], context.params["second_image"]]
    # An upgrade that changes the model, too.
    assert "ESTIMATOR=" in built[1]["build-args"]
    assert "ESTIMATOR=" not in built[0]["build-args"]


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
    """The CRDs that the manifests are validated against, and the image, are the project's."""
    text = (PROJECT / ".github" / "workflows" / "ci.yaml").read_text()

    pinned = re.findall(r"ref: ([0-9a-f]{40}) # v(\S+)", text)
    assert pinned == [(KUBERAY_COMMIT, KUBERAY_VERSION)]
    assert load("ci.yaml")["jobs"]["end-to-end"]["env"]["IMAGE"] == f"localhost/{IMAGE}"
