"""Everything that the service needs on Google Cloud, in order.

Each step looks first and creates only what is missing, so that a run that broke off is continued
by running it again, and a run that finds everything changes nothing.
"""

import json
from pathlib import Path

from deploy.cluster import apply_prerequisites, create_auth_secret, install_kuberay
from deploy.shell import Shell
from deploy.gke.listing import listed
from deploy.gke.grants import MIRRORS, QUAY, delivery_grants, node_grants, trace_grants
from deploy.gke.target import POOL, PROJECT_ROLE_ID, Target
from deploy.names import NAMESPACE, REPOSITORY

SERVICES = (
    "artifactregistry.googleapis.com",
    "cloudtrace.googleapis.com",
    "compute.googleapis.com",
    "container.googleapis.com",
    "containerfilesystem.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "sts.googleapis.com",
    "telemetry.googleapis.com",
)

DEPLOY_PERMISSIONS = ("container.clusters.connect", "container.clusters.get")
"""Find the cluster and reach its control plane. What may be done there, Kubernetes decides."""

ISSUER = "https://token.actions.githubusercontent.com"
ATTRIBUTE_MAPPING = {"google.subject": "assertion.repository_id + '/' + assertion.environment"}
"""Grants name this subject. GitHub's own, the claim ``sub``, holds names: they can change hands."""

DEPLOY_RBAC = Path(__file__).parent / "deploy-rbac.yaml"


def set_up(shell: Shell, target: Target) -> None:
    """Create what is missing.

    Raises:
        deploy.shell.CommandError: a command failed; the steps after it did not run.
    """
    enable_services(shell, target)
    create_repositories(shell, target)
    create_node_account(shell, target)
    create_cluster(shell, target)
    apply_prerequisites(shell, target.context)
    install_kuberay(shell, target.context, registry=f"{target.registry}/{QUAY}")
    create_auth_secret(shell, target.context)
    with shell.step("Spans: Ray's pods may write to Cloud Trace", _IAM_FIX):
        for grant in trace_grants(target):
            grant.add(shell)
    trust_github(shell, target)
    allow_deployment(shell, target)


def enable_services(shell: Shell, target: Target) -> None:
    """Enable the APIs that are off."""
    fix = "Link a billing account to the project; ask for roles/serviceusage.serviceUsageAdmin."
    with shell.step("APIs", fix):
        enabled = shell.read(
            *("gcloud", "services", "list", "--enabled", f"--project={target.project}"),
            "--format=value(config.name)",
        ).split()
        missing = [service for service in SERVICES if service not in enabled]
        if missing:
            shell.change("gcloud", "services", "enable", *missing, f"--project={target.project}")


def create_repositories(shell: Shell, target: Target) -> None:
    """Create the registry of the image, and the mirrors that spare the nodes an internet access."""
    where = (f"--location={target.region}", f"--project={target.project}")
    with shell.step("Artifact Registry", "Ask for roles/artifactregistry.admin on the project."):
        repositories = ("gcloud", "artifacts", "repositories")
        existing = listed(shell, *repositories, "list", *where)
        if REPOSITORY not in existing:
            shell.change(*repositories, "create", REPOSITORY, *where, "--repository-format=docker")
        for mirror, registry in MIRRORS.items():
            if mirror not in existing:
                shell.change(
                    *(*repositories, "create", mirror, *where, "--repository-format=docker"),
                    *("--mode=remote-repository", f"--remote-docker-repo={registry}"),
                )


def create_node_account(shell: Shell, target: Target) -> None:
    """Create the nodes' own account: the default one may edit the whole project."""
    with shell.step("Identity of the nodes", _IAM_FIX):
        _create_account(shell, target, target.node_account)
        for grant in node_grants(target):
            grant.add(shell)


def create_cluster(shell: Shell, target: Target) -> None:
    """Create the cluster and let kubectl reach it."""
    where = (f"--region={target.region}", f"--project={target.project}")
    clusters = ("gcloud", "container", "clusters")
    fix = (
        "Quota: lower --max-nodes or choose another --machine-type or --region; "
        "rights: ask for roles/container.admin and roles/iam.serviceAccountUser."
    )
    with shell.step("Cluster", fix):
        if target.cluster not in listed(shell, *clusters, "list", *where):
            shell.change(*clusters, "create", target.cluster, *where, *_cluster_flags(target))
        shell.change(*clusters, "get-credentials", target.cluster, *where, "--dns-endpoint")


def _cluster_flags(target: Target) -> list[str]:
    return [
        "--release-channel=regular",
        # Identity: pods are IAM principals themselves; nodes have an account of their own.
        f"--workload-pool={target.project}.svc.id.goog",
        f"--service-account={target.node_account}",
        # Network: NetworkPolicy is enforced; neither nodes nor control plane have a public address.
        "--enable-ip-alias",
        "--enable-dataplane-v2",
        "--enable-private-nodes",
        "--enable-dns-access",
        "--no-enable-ip-access",
        "--gateway-api=standard",
        # Nodes: as many as the pods ask for, measured over the region.
        f"--machine-type={target.machine_type}",
        "--num-nodes=1",
        "--enable-autoscaling",
        "--total-min-nodes=1",
        f"--total-max-nodes={target.max_nodes}",
        "--location-policy=BALANCED",
        "--autoscaling-profile=optimize-utilization",
        "--enable-image-streaming",
        "--enable-shielded-nodes",
        "--shielded-secure-boot",
        "--shielded-integrity-monitoring",
        # Metrics of Ray and of the service, by PodMonitoring.
        "--enable-managed-prometheus",
    ]


def trust_github(shell: Shell, target: Target) -> None:
    """Exchange the tokens of one repository's main branch for Google's; no key is ever made."""
    pools = ("gcloud", "iam", "workload-identity-pools")
    where = ("--location=global", f"--project={target.project}")
    with shell.step(f"GitHub: jobs of {target.github.name} are IAM principals", _IAM_FIX):
        pool = listed(shell, *pools, "list", *where, "--show-deleted").get(POOL)
        if pool is None:
            shell.change(*pools, "create", POOL, *where, "--display-name=GitHub Actions")
        elif pool.get("state") == "DELETED":
            # Deleted pools keep their name for 30 days.
            shell.change(*pools, "undelete", POOL, *where)
        inside = (*where, f"--workload-identity-pool={POOL}")
        wanted = [
            f"--issuer-uri={ISSUER}",
            *(f"--attribute-mapping={key}={claim}" for key, claim in ATTRIBUTE_MAPPING.items()),
            f"--attribute-condition={attribute_condition(target)}",
        ]
        providers = (*pools, "providers")
        provider = listed(shell, *providers, "list", *inside, "--show-deleted").get(POOL)
        if provider is None:
            shell.change(*providers, "create-oidc", POOL, *inside, *wanted)
            return
        if provider.get("state") == "DELETED":
            shell.change(*providers, "undelete", POOL, *inside)
        if (
            provider.get("oidc", {}).get("issuerUri") != ISSUER
            or provider.get("attributeCondition") != attribute_condition(target)
            or provider.get("attributeMapping") != ATTRIBUTE_MAPPING
        ):
            shell.change(*providers, "update-oidc", POOL, *inside, *wanted)


def attribute_condition(target: Target) -> str:
    """Which of GitHub's tokens are accepted at all: one repository, one owner, one branch."""
    return (
        f"assertion.repository_id == '{target.github.id}' && "
        f"assertion.repository_owner_id == '{target.github.owner_id}' && "
        "assertion.ref == 'refs/heads/main'"
    )


def allow_deployment(shell: Shell, target: Target) -> None:
    """Let the deploying job reach the cluster, and change the namespace of the service only."""
    with shell.step(f"Deployment: into namespace {NAMESPACE} only", _IAM_FIX):
        _create_account(shell, target, target.deploy_account)
        _create_role(shell, target)
        for grant in delivery_grants(target):
            grant.add(shell)
        kubectl = ("kubectl", f"--context={target.context}")
        shell.change(*kubectl, "apply", "--server-side", f"--filename={DEPLOY_RBAC}")
        binding = ("rolebinding", "deploy", f"--namespace={NAMESPACE}")
        if not shell.read(*kubectl, "get", *binding, "--ignore-not-found", "-oname"):
            user = f"--user={target.deploy_account}"
            shell.change(*kubectl, "create", *binding, "--role=deploy", user)


def _create_role(shell: Shell, target: Target) -> None:
    roles = ("gcloud", "iam", "roles")
    named = (PROJECT_ROLE_ID, f"--project={target.project}")
    permissions = f"--permissions={','.join(DEPLOY_PERMISSIONS)}"
    role = listed(shell, *roles, "list", named[1], "--show-deleted").get(PROJECT_ROLE_ID)
    if role is None:
        title = "--title=Reach the control plane of GKE clusters"
        shell.change(*roles, "create", *named, title, permissions)
        return
    if role.get("deleted"):
        # Deleted roles keep their id for weeks.
        shell.change(*roles, "undelete", *named)
    # Lists do not tell what a role permits.
    described = json.loads(shell.read(*roles, "describe", *named, "--format=json"))
    if sorted(described.get("includedPermissions", [])) != sorted(DEPLOY_PERMISSIONS):
        shell.change(*roles, "update", *named, permissions)


def github_variables(target: Target) -> dict[str, str]:
    """Variables that the workflows read; none is a secret."""
    return {
        "GCP_PROJECT": target.project,
        "GCP_REGION": target.region,
        "GKE_CLUSTER": target.cluster,
        "IMAGE": target.image,
        "WORKLOAD_IDENTITY_PROVIDER": target.provider,
        "DEPLOY_ACCOUNT": target.deploy_account,
    }


_IAM_FIX = (
    "Ask for roles/resourcemanager.projectIamAdmin, roles/iam.serviceAccountAdmin, "
    "roles/iam.roleAdmin and roles/iam.workloadIdentityPoolAdmin on the project."
)


def _create_account(shell: Shell, target: Target, email: str) -> None:
    accounts = ("gcloud", "iam", "service-accounts")
    project = f"--project={target.project}"
    if email not in listed(shell, *accounts, "list", project, key="email"):
        shell.change(*accounts, "create", email.partition("@")[0], project)
