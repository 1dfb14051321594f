"""Roles, granted once and only where they are needed."""

import json
from dataclasses import dataclass

from deploy.shell import Shell
from deploy.gke.target import ENVIRONMENTS, Target
from deploy.names import REPOSITORY, SERVICE_ACCOUNTS

GRANT_ATTEMPTS = 6
"""IAM answers "does not exist" for up to a minute after an account was created."""

QUAY = f"{REPOSITORY}-quay"
MIRRORS = {QUAY: "https://quay.io", f"{REPOSITORY}-docker-hub": "DOCKER-HUB"}
"""Repositories that mirror public registries, for nodes without internet: KubeRay's operator is on
quay.io, Redis of the component gcs-fault-tolerance on Docker Hub."""


@dataclass(frozen=True)
class Grant:
    """One role of one member on one resource.

    Attributes:
        group: gcloud's command group of the resource.
        resource: what the role is granted on, with the flags that locate it.
        role: full name of the role.
        member: IAM's name of who gets it.
    """

    group: tuple[str, ...]
    resource: tuple[str, ...]
    role: str
    member: str

    def exists(self, shell: Shell) -> bool:
        """Whether the policy of the resource has it."""
        policy = json.loads(
            shell.read("gcloud", *self.group, "get-iam-policy", *self.resource, "--format=json")
            or "{}"
        )
        return any(
            binding["role"] == self.role
            and self.member in binding["members"]
            and "condition" not in binding
            for binding in policy.get("bindings", [])
        )

    def add(self, shell: Shell) -> None:
        """Grant it unless it is there."""
        if not self.exists(shell):
            self._change(shell, "add-iam-policy-binding")

    def remove(self, shell: Shell) -> None:
        """Revoke it if it is there."""
        if shell.dry_run or self.exists(shell):
            self._change(shell, "remove-iam-policy-binding")

    def _change(self, shell: Shell, verb: str) -> None:
        shell.change(
            *("gcloud", *self.group, verb, *self.resource),
            *(f"--role={self.role}", f"--member={self.member}", "--condition=None"),
            attempts=GRANT_ATTEMPTS,
        )


def trace_grants(target: Target) -> list[Grant]:
    """Ray's pods may write spans, and nothing else."""
    return [
        _on_project(target, "roles/cloudtrace.agent", target.workload(account))
        for account in SERVICE_ACCOUNTS
    ]


def node_grants(target: Target) -> list[Grant]:
    """Nodes may write their logs and metrics, and pull the images they need."""
    member = f"serviceAccount:{target.node_account}"
    return [
        _on_project(target, "roles/container.defaultNodeServiceAccount", member),
        *(
            _on_repository(target, repository, "roles/artifactregistry.reader", member)
            for repository in (REPOSITORY, *MIRRORS)
        ),
    ]


def delivery_grants(target: Target) -> list[Grant]:
    """One job pushes images; another acts as the account that reaches the cluster."""
    pushes, deploys = target.job(ENVIRONMENTS["image"]), target.job(ENVIRONMENTS["deploy"])
    return [
        _on_repository(target, REPOSITORY, "roles/artifactregistry.writer", pushes),
        Grant(
            ("iam", "service-accounts"),
            (target.deploy_account, f"--project={target.project}"),
            "roles/iam.workloadIdentityUser",
            deploys,
        ),
        _on_project(target, target.deploy_role, f"serviceAccount:{target.deploy_account}"),
    ]


def _on_project(target: Target, role: str, member: str) -> Grant:
    return Grant(("projects",), (target.project,), role, member)


def _on_repository(target: Target, repository: str, role: str, member: str) -> Grant:
    flags = (f"--location={target.region}", f"--project={target.project}")
    return Grant(("artifacts", "repositories"), (repository, *flags), role, member)
