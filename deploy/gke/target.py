"""Which project, region, cluster and GitHub repository; every name that follows from them."""

import re
from dataclasses import dataclass, replace
from typing import Self

from deploy.names import IMAGE, NAMESPACE, REPOSITORY
from deploy.shell import CommandError, Shell, ToolMissingError, require_tools
from serve_app.errors import UserError

POOL = f"{REPOSITORY}-github"
"""Pool and provider; a project may have one named `github` for another purpose."""
ENVIRONMENTS = {"image": "image", "deploy": "production"}
"""GitHub environments of the jobs that push the image and that deploy."""
TOOLS = ("gcloud", "gke-gcloud-auth-plugin", "kubectl", "helm", "git")


@dataclass(frozen=True)
class GkeTarget:
    """Where the service goes.

    Attributes:
        project: id of the Google Cloud project.
        region: region of the cluster and of the registry.
        repository: OWNER/NAME of the repository on GitHub that may push images and deploy.
        cluster: name of the cluster.
        machine_type: machine type of its nodes.
        max_nodes: most nodes in the whole region, for two Ray clusters during an upgrade.
        number: number of the project, which IAM's principal identifiers contain.
        repository_id: number of the repository; numbers stay when names change hands.
        owner_id: number of its owner.
    """

    project: str
    region: str
    repository: str
    cluster: str = "serve-app"
    machine_type: str = "n2-standard-4"
    max_nodes: int = 6
    number: str = ""
    repository_id: str = ""
    owner_id: str = ""

    def resolved(self, shell: Shell) -> Self:
        """A copy with the numbers, which Google and GitHub know; a dry run shows placeholders.

        Raises:
            UserError: there is no account, project or repository.
            deploy.shell.ToolMissingError: a tool of the set-up is not installed.
        """
        repository_id, owner_id = self.repository_id, self.owner_id
        if shell.dry_run:
            number = "PROJECT_NUMBER"
            repository_id, owner_id = repository_id or "REPOSITORY_ID", owner_id or "OWNER_ID"
        else:
            require_tools(*TOOLS)
            number = _project_number(shell, self.project)
            if not (repository_id and owner_id):
                repository_id, owner_id = _github_numbers(shell, self.repository)
        return replace(self, number=number, repository_id=repository_id, owner_id=owner_id)

    @property
    def context(self) -> str:
        """Name that gcloud gives to kubectl's context."""
        return f"gke_{self.project}_{self.region}_{self.cluster}"

    @property
    def registry(self) -> str:
        """Artifact Registry's host and project."""
        return f"{self.region}-docker.pkg.dev/{self.project}"

    @property
    def node_account(self) -> str:
        """Google service account of the nodes."""
        return f"{REPOSITORY}-nodes@{self.project}.iam.gserviceaccount.com"

    @property
    def deploy_account(self) -> str:
        """Google service account that the deploying job acts as."""
        return f"{REPOSITORY}-deploy@{self.project}.iam.gserviceaccount.com"

    @property
    def _pools(self) -> str:
        return f"projects/{self.number}/locations/global/workloadIdentityPools"

    def workload(self, service_account: str) -> str:
        """IAM member: the pods of one Kubernetes service account, without any Google account."""
        pool = f"{self._pools}/{self.project}.svc.id.goog"
        return f"principal://iam.googleapis.com/{pool}/subject/ns/{NAMESPACE}/sa/{service_account}"

    def job(self, name: str) -> str:
        """IAM member: a job of the repository, by its GitHub environment in `ENVIRONMENTS`."""
        subject = f"{self.repository_id}/{ENVIRONMENTS[name]}"
        return f"principal://iam.googleapis.com/{self._pools}/{POOL}/subject/{subject}"

    @property
    def github_variables(self) -> dict[str, str]:
        """Variables that the workflows read; none is a secret."""
        return {
            "GCP_PROJECT": self.project,
            "GCP_REGION": self.region,
            "GKE_CLUSTER": self.cluster,
            "IMAGE": f"{self.registry}/{IMAGE}",
            "WORKLOAD_IDENTITY_PROVIDER": f"{self._pools}/{POOL}/providers/{POOL}",
            "DEPLOY_ACCOUNT": self.deploy_account,
        }


def _project_number(shell: Shell, project: str) -> str:
    account = _ask(shell, "gcloud", "config", "get-value", "account")
    if account in ("", "(unset)"):
        raise UserError("gcloud has no account; run: gcloud auth login")
    number = _ask(shell, "gcloud", "projects", "describe", project, "--format=value(projectNumber)")
    if not number.isdigit():
        raise UserError(
            f"project {project!r} does not exist or {account} may not see it; "
            "choose one of: gcloud projects list"
        )
    return number


def _github_numbers(shell: Shell, name: str) -> tuple[str, str]:
    numbers = _ask(shell, "gh", "api", f"repos/{name}", "--jq=[.id, .owner.id] | @tsv")
    match = re.fullmatch(r"(\d+)\s+(\d+)", numbers)
    if match is None:
        raise UserError(
            f"the numbers of {name} are unknown: install gh and log in, or look up .id and "
            f".owner.id at https://api.github.com/repos/{name}, for --repository-id and --owner-id"
        )
    return match[1], match[2]


def _ask(shell: Shell, *command: str) -> str:
    try:
        return shell.read(*command)
    except (CommandError, ToolMissingError):
        return ""
