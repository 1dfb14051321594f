"""The resources on Google Cloud, each after what it needs."""

import shlex

from deploy.gke.gcloud import JSON, Group, Resource
from deploy.gke.target import POOL, GkeTarget
from deploy.names import NAMESPACE, PACKAGED_MANIFESTS, PUBLIC_SERVICE, REPOSITORY, SERVICE_ACCOUNTS

APIS = tuple(
    f"{name}.googleapis.com"
    for name in (
        *("artifactregistry", "cloudtrace", "compute", "container", "containerfilesystem", "iam"),
        *("iamcredentials", "logging", "monitoring", "sts", "telemetry"),
    )
)
QUAY = f"{REPOSITORY}-quay"
"""Repository that mirrors quay.io, where KubeRay's operator is, for nodes without internet."""

ROLE = "serveAppDeployer"
DEPLOY_PERMISSIONS = ("container.clusters.connect", "container.clusters.get")
"""Find the cluster and reach its control plane. What may be done there, Kubernetes decides."""
DEPLOY_RBAC = PACKAGED_MANIFESTS / "delivery" / "deploy-rbac.yaml"

ISSUER = "https://token.actions.githubusercontent.com"
ATTRIBUTE_MAPPING = {"google.subject": "assertion.repository_id + '/' + assertion.environment"}
"""Grants name this subject. GitHub's own, the claim ``sub``, holds names: they can change hands."""


class Resources:
    """All resources of one target."""

    def __init__(self, target: GkeTarget) -> None:
        self._target = target
        self._project = f"--project={target.project}"
        self._kubectl = ("kubectl", f"--context={target.context}")
        self._projects = Group("projects")
        self._accounts = Group("iam service-accounts", (self._project,), key="email")
        self._repositories = Group(
            "artifacts repositories",
            (f"--location={target.region}", self._project),
            "Ask for roles/artifactregistry.admin on the project.",
        )
        docker = "--repository-format=docker"
        self._registry = self._repositories.resource(
            "Registry of the image", REPOSITORY, docker, holds_images=True
        )
        self._mirror = self._repositories.resource(
            "Mirror of quay.io for nodes without internet",
            QUAY,
            *(docker, "--mode=remote-repository", "--remote-docker-repo=https://quay.io"),
        )

    def infrastructure(self) -> list[Resource]:
        """APIs, registry, identity of the nodes, and the cluster."""
        target = self._target
        nodes = f"serviceAccount:{target.node_account}"
        pull, log = "roles/artifactregistry.reader", "roles/container.defaultNodeServiceAccount"
        services = ("gcloud", "services")
        return [
            Resource(
                what="APIs",
                fix=f"Link a billing account to {target.project}; ask for "
                "roles/serviceusage.serviceUsageAdmin.",
                find=(*services, "list", "--enabled", self._project, "--format=value(config.name)"),
                read=lambda printed: {"": {}} if set(APIS) <= set(printed.split()) else {},
                create=(*services, "enable", *APIS, self._project),
            ),
            *(self._registry, self._mirror),
            self._accounts.resource(
                "Account of the nodes: the default one may edit the project", target.node_account
            ),
            self._projects.grant("Nodes may write logs and metrics", target.project, log, nodes),
            *(
                self._repositories.grant("Nodes may pull images", each, pull, nodes)
                for each in (self._registry, self._mirror)
            ),
            *self._cluster(),
        ]

    def identities(self) -> list[Resource]:
        """What may write spans, push images and deploy; no key is ever made."""
        target = self._target
        account = self._accounts.resource("Account of the deploying job", target.deploy_account)
        binding = ("rolebinding", "deploy", f"--namespace={NAMESPACE}")
        return [
            *(
                self._projects.grant(
                    f"Pods of {each} may write spans",
                    *(target.project, "roles/cloudtrace.agent", target.workload(each)),
                )
                for each in SERVICE_ACCOUNTS
            ),
            *self._github(),
            account,
            self._role(),
            self._repositories.grant(
                "One job on GitHub may push images",
                *(self._registry, "roles/artifactregistry.writer", target.job("image")),
            ),
            self._accounts.grant(
                "Another one may act as the deploying account",
                *(account, "roles/iam.workloadIdentityUser", target.job("deploy")),
            ),
            self._projects.grant(
                "The account may reach the cluster",
                *(target.project, f"projects/{target.project}/roles/{ROLE}"),
                f"serviceAccount:{target.deploy_account}",
            ),
            Resource(
                what=f"What may be done there: changes in namespace {NAMESPACE} only",
                create=(*self._kubectl, "apply", "--server-side", f"--filename={DEPLOY_RBAC}"),
            ),
            Resource(
                what="The account may do it",
                find=(*self._kubectl, "get", *binding, "--ignore-not-found", "-oname"),
                create=(
                    *(*self._kubectl, "create", *binding),
                    *("--role=deploy", f"--user={target.deploy_account}"),
                ),
            ),
        ]

    def _cluster(self) -> tuple[Resource, Resource]:
        target = self._target
        clusters = Group(
            "container clusters",
            (f"--region={target.region}", self._project),
            "Quota: lower --max-nodes or choose another --machine-type or --region; "
            "rights: ask for roles/container.admin and roles/iam.serviceAccountUser.",
        )
        cluster = clusters.resource(
            "Cluster",
            target.cluster,
            "--release-channel=regular",
            # Identity: pods are IAM principals themselves; nodes have an account of their own.
            f"--workload-pool={target.project}.svc.id.goog",
            f"--service-account={target.node_account}",
            # Network: NetworkPolicy is enforced; nodes and control plane have no public address.
            *("--enable-ip-alias", "--enable-dataplane-v2", "--enable-private-nodes"),
            *("--enable-dns-access", "--no-enable-ip-access", "--gateway-api=standard"),
            # Nodes: as many as the pods ask for, measured over the region.
            *(f"--machine-type={target.machine_type}", "--num-nodes=1", "--enable-autoscaling"),
            *("--total-min-nodes=1", f"--total-max-nodes={target.max_nodes}"),
            *("--location-policy=BALANCED", "--autoscaling-profile=optimize-utilization"),
            *("--enable-image-streaming", "--enable-shielded-nodes"),
            *("--shielded-secure-boot", "--shielded-integrity-monitoring"),
            # Metrics of Ray and of the service, by PodMonitoring.
            "--enable-managed-prometheus",
        )
        access = clusters.command("get-credentials", target.cluster, "--dns-endpoint")
        empty = ("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=10m")
        return cluster, Resource(
            what="Access to what is inside the cluster",
            fix=clusters.fix,
            create=access,
            # Load balancers would outlive the cluster that made them.
            delete=(access, (*self._kubectl, *empty)),
            delete_fix="Run it again. If the control plane does not answer: "
            f"{shlex.join(cluster.delete[0])}; then delete the load balancer of {PUBLIC_SERVICE}, "
            f"which nothing else does then (gcloud compute forwarding-rules list {self._project}), "
            "and run it again.",
            part_of=cluster,
        )

    def _github(self) -> tuple[Resource, Resource]:
        name, where = "iam workload-identity-pools", ("--location=global", self._project)
        in_pool = (*where, f"--workload-identity-pool={POOL}")
        # Which of GitHub's tokens are accepted at all: one repository, one owner, one branch.
        condition = (
            f"assertion.repository_id == '{self._target.repository_id}' && "
            f"assertion.repository_owner_id == '{self._target.owner_id}' && "
            "assertion.ref == 'refs/heads/main'"
        )
        return (
            Group(name, where, keeps=True).resource(
                f"Identities of jobs of {self._target.repository}",
                *(POOL, "--display-name=GitHub Actions"),
            ),
            Group(f"{name} providers", in_pool, keeps=True, suffix="-oidc").resource(
                "Provider that exchanges GitHub's tokens for Google's",
                *(POOL, f"--issuer-uri={ISSUER}"),
                *(f"--attribute-mapping={key}={claim}" for key, claim in ATTRIBUTE_MAPPING.items()),
                f"--attribute-condition={condition}",
                is_current=lambda found: (
                    found.get("oidc", {}).get("issuerUri") == ISSUER
                    and found.get("attributeCondition") == condition
                    and found.get("attributeMapping") == ATTRIBUTE_MAPPING
                ),
                delete=(),
            ),
        )

    def _role(self) -> Resource:
        roles = Group("iam roles", (self._project,), keeps=True)
        permissions = f"--permissions={','.join(DEPLOY_PERMISSIONS)}"
        return roles.resource(
            "Role that reaches the cluster",
            *(ROLE, "--title=Reach the control plane of GKE clusters"),
            permissions,
            # Lists do not tell what a role permits.
            describe=roles.command("describe", ROLE, JSON),
            update=roles.command("update", ROLE, permissions),
            is_current=lambda found: (
                sorted(found.get("includedPermissions", [])) == sorted(DEPLOY_PERMISSIONS)
            ),
        )
