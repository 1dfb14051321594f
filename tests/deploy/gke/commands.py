"""What ``serve-app gke setup`` runs for one project."""

import re
import shlex

from deploy.cluster import PREREQUISITES
from deploy.gke.resources import APIS, DEPLOY_RBAC
from deploy.names import KUBERAY_COMMIT
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
