"""``serve-app gke``: what is run, in which order, and that nothing is done twice."""

import base64
import contextlib
import io
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.cluster import PREREQUISITES
from deploy.gke.resources import APIS, DEPLOY_RBAC
from deploy.names import KUBERAY_COMMIT
from serve_app.cli.main import main
from tests.deploy.fake_tools import FakeTools

PROJECT = "my-project"
REGION = "europe-west1"
COMMON = ["--project", PROJECT, "--region", REGION, "--repository", "octo/serve-app"]
SETUP = ["gke", "setup", *COMMON]
TEARDOWN = ["gke", "teardown", *COMMON, "--yes"]

P = f"--project={PROJECT}"
IN_REGION = f"--region={REGION} {P}"
AT_REGION = f"--location={REGION} {P}"
GLOBAL = f"--location=global {P}"
CONTEXT = f"gke_{PROJECT}_{REGION}_serve-app"
KUBECTL = f"kubectl --context={CONTEXT}"
HELM = f"helm --kube-context={CONTEXT} --namespace=kuberay-system"
POOLS = "iam.googleapis.com/projects/1234567890/locations/global/workloadIdentityPools"
PODS = f"principal://{POOLS}/{PROJECT}.svc.id.goog/subject/ns/serve-app/sa"
JOBS = f"principal://{POOLS}/serve-app-github/subject/111"
NODES = f"serve-app-nodes@{PROJECT}.iam.gserviceaccount.com"
DEPLOYER = f"serve-app-deploy@{PROJECT}.iam.gserviceaccount.com"
GITHUB_PROVIDER = (
    "serve-app-github " + GLOBAL + " --workload-identity-pool=serve-app-github "
    "--issuer-uri=https://token.actions.githubusercontent.com "
    "'--attribute-mapping=google.subject="
    """assertion.repository_id + '"'"'/'"'"' + assertion.environment' """
    """'--attribute-condition=assertion.repository_id == '"'"'111'"'"' && """
    """assertion.repository_owner_id == '"'"'222'"'"' && """
    """assertion.ref == '"'"'refs/heads/main'"'"''"""
)


def grant(resource: str, role: str, member: str) -> str:
    group, _, rest = resource.partition(" ")
    return (
        f"gcloud {group.replace('/', ' ')} add-iam-policy-binding {rest} "
        f"--role={role} --member={member} --condition=None"
    )


CONVERGING = [
    f"gcloud container clusters get-credentials serve-app {IN_REGION} --dns-endpoint",
    f"{KUBECTL} apply --server-side --kustomize={PREREQUISITES}",
    (
        f"{KUBECTL} apply --server-side --force-conflicts "
        "'--kustomize=https://github.com/ray-project/kuberay//ray-operator/config/crd"
        f"?ref={KUBERAY_COMMIT}'"
    ),
    (
        f"{HELM} upgrade kuberay-operator kuberay-operator --install --create-namespace "
        "--repo=https://ray-project.github.io/kuberay-helm/ --version=1.7.0 --skip-crds "
        f"--set=image.repository={REGION}-docker.pkg.dev/{PROJECT}/serve-app-quay/kuberay/operator "
        "--set=priorityClassName=serve-app-operator "
        "'--set=featureGates[0].name=GCSFaultToleranceEmbeddedStorage' "
        "'--set=featureGates[0].enabled=true' --wait --timeout=5m"
    ),
    f"{KUBECTL} apply --server-side --filename={DEPLOY_RBAC}",
]
"""Run each time: they change nothing where there is nothing to change."""

CREATES = [
    f"gcloud services enable {' '.join(APIS)} {P}",
    f"gcloud artifacts repositories create serve-app {AT_REGION} --repository-format=docker",
    (
        f"gcloud artifacts repositories create serve-app-quay {AT_REGION} "
        "--repository-format=docker --mode=remote-repository --remote-docker-repo=https://quay.io"
    ),
    f"gcloud iam service-accounts create serve-app-nodes {P}",
    grant(
        f"projects {PROJECT}",
        "roles/container.defaultNodeServiceAccount",
        f"serviceAccount:{NODES}",
    ),
    grant(
        f"artifacts/repositories serve-app {AT_REGION}",
        "roles/artifactregistry.reader",
        f"serviceAccount:{NODES}",
    ),
    grant(
        f"artifacts/repositories serve-app-quay {AT_REGION}",
        "roles/artifactregistry.reader",
        f"serviceAccount:{NODES}",
    ),
    (
        f"gcloud container clusters create serve-app {IN_REGION} --release-channel=regular "
        f"--workload-pool={PROJECT}.svc.id.goog --service-account={NODES} "
        "--enable-ip-alias --enable-dataplane-v2 --enable-private-nodes --enable-dns-access "
        "--no-enable-ip-access --gateway-api=standard --machine-type=n2-standard-4 --num-nodes=1 "
        "--enable-autoscaling --total-min-nodes=1 --total-max-nodes=6 --location-policy=BALANCED "
        "--autoscaling-profile=optimize-utilization --enable-image-streaming "
        "--enable-shielded-nodes --shielded-secure-boot --shielded-integrity-monitoring "
        "--enable-managed-prometheus"
    ),
    CONVERGING[0],
    CONVERGING[1],
    CONVERGING[2],
    CONVERGING[3],
    (
        f"{KUBECTL} --namespace=serve-app create secret generic ray-auth "
        "--from-file=auth_token=/dev/stdin"
    ),
    grant(f"projects {PROJECT}", "roles/cloudtrace.agent", f"{PODS}/ray-head"),
    grant(f"projects {PROJECT}", "roles/cloudtrace.agent", f"{PODS}/ray-worker"),
    (
        f"gcloud iam workload-identity-pools create serve-app-github {GLOBAL} "
        "'--display-name=GitHub Actions'"
    ),
    f"gcloud iam workload-identity-pools providers create-oidc {GITHUB_PROVIDER}",
    f"gcloud iam service-accounts create serve-app-deploy {P}",
    (
        f"gcloud iam roles create serveAppDeployer {P} "
        "'--title=Reach the control plane of GKE clusters' "
        "--permissions=container.clusters.connect,container.clusters.get"
    ),
    grant(
        f"artifacts/repositories serve-app {AT_REGION}",
        "roles/artifactregistry.writer",
        f"{JOBS}/image",
    ),
    grant(
        f"iam/service-accounts {DEPLOYER} {P}",
        "roles/iam.workloadIdentityUser",
        f"{JOBS}/production",
    ),
    grant(
        f"projects {PROJECT}",
        f"projects/{PROJECT}/roles/serveAppDeployer",
        f"serviceAccount:{DEPLOYER}",
    ),
    CONVERGING[4],
    f"{KUBECTL} create rolebinding deploy --namespace=serve-app --role=deploy --user={DEPLOYER}",
]
"""Everything that the first run changes, in order."""


def changes(tools: FakeTools) -> list[str]:
    """Recorded commands that do more than look."""
    looks = re.compile(r" (list|describe|get-value|get-iam-policy|get|api)( |$)")
    lines = [shlex.join(command) for command in tools.commands]
    return [line for line in lines if not looks.search(line)]


@dataclass(frozen=True)
class Run:
    """A set-up of an empty project: its exit code, the tools after it, and what it printed."""

    code: int
    tools: FakeTools
    printed: str


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One set-up of an empty project."""
    tools = FakeTools(tmp_path_factory.mktemp("first_run"))
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        monkeypatch.setenv("PATH", str(tools.bin))
        return Run(main(SETUP), tools, printed.getvalue())


@pytest.fixture
def installed(first_run: Run, tools: FakeTools) -> FakeTools:
    """Tools that find everything set up, and nothing recorded yet."""
    tools.update(**first_run.tools.state)
    return tools


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


def test_teardown_deletes_everything_but_the_images(installed: FakeTools) -> None:
    """What the set-up created is gone, inner things first; images are kept."""
    assert main(TEARDOWN) == 0

    deleted = changes(installed)
    cluster = deleted.index(f"gcloud container clusters delete serve-app {IN_REGION}")
    assert deleted[cluster - 2 : cluster] == [
        CONVERGING[0],
        f"{KUBECTL} delete namespace serve-app --ignore-not-found --timeout=10m",
    ]
    left = installed.state
    assert left["container/clusters"] == left["iam/service-accounts"] == {}
    assert list(left["artifacts/repositories"]) == ["serve-app"]
    assert [grants for grants in left["policies"].values() if grants] == []
    assert left["iam/workload-identity-pools"]["serve-app-github"]["state"] == "DELETED"
    assert left["iam/roles"]["serveAppDeployer"]["deleted"]


def test_teardown_twice_and_set_up_again(installed: FakeTools) -> None:
    """A second teardown finds nothing; a new set-up revives what Google only marks as deleted."""
    main([*TEARDOWN, "--images"])
    installed.forget()

    assert main([*TEARDOWN, "--images"]) == 0
    assert changes(installed) == []

    assert main(SETUP) == 0
    revived = [line.split(" --")[0] for line in changes(installed) if "undelete" in line]
    assert revived == [
        "gcloud iam workload-identity-pools undelete serve-app-github",
        "gcloud iam roles undelete serveAppDeployer",
    ]


def test_teardown_tells_the_way_around_an_unreachable_control_plane(
    installed: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """Running it again would not help then: the fix deletes the cluster without it."""
    failure = {"command": "delete namespace", "times": 1, "message": "dial tcp: i/o timeout"}
    installed.update(failures=[failure])

    assert main(TEARDOWN) == 1

    error = capsys.readouterr().err
    assert f"gcloud container clusters delete serve-app {IN_REGION}" in error
    assert "load balancer of classifier-public" in error


def test_teardown_asks_first(tools: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --yes nothing is even looked at."""
    assert main(TEARDOWN[:-1]) == 2

    assert "add --yes" in capsys.readouterr().err
    assert tools.commands == []
