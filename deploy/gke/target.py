"""Which project, region, cluster and GitHub repository; every name that follows from them."""

from dataclasses import dataclass

from deploy.names import IMAGE, NAMESPACE, REPOSITORY

PROJECT_ROLE_ID = "serveAppDeployer"
POOL = f"{REPOSITORY}-github"
"""Pool and provider; a project may have one named `github` that somebody else relies on."""
ENVIRONMENTS = {"image": "image", "deploy": "production"}
"""GitHub environments of the jobs that push the image and that deploy."""


@dataclass(frozen=True)
class GitHubRepository:
    """A repository on GitHub; the numbers stay when names change hands.

    Attributes:
        name: OWNER/NAME, for people.
        id: number of the repository.
        owner_id: number of its owner.
    """

    name: str
    id: str
    owner_id: str


@dataclass(frozen=True)
class Target:
    """Where the service goes.

    Attributes:
        project: id of the Google Cloud project.
        number: its number, which IAM's principal identifiers contain.
        region: region of the cluster and of the registry.
        github: the repository that may push images and deploy.
        cluster: name of the cluster.
        machine_type: machine type of its nodes.
        max_nodes: most nodes in the whole region, for two Ray clusters during an upgrade.
    """

    project: str
    number: str
    region: str
    github: GitHubRepository
    cluster: str = "serve-app"
    machine_type: str = "n2-standard-4"
    max_nodes: int = 6

    @property
    def context(self) -> str:
        """Name that gcloud gives to kubectl's context."""
        return f"gke_{self.project}_{self.region}_{self.cluster}"

    @property
    def registry(self) -> str:
        """Artifact Registry's host and project."""
        return f"{self.region}-docker.pkg.dev/{self.project}"

    @property
    def image(self) -> str:
        """The image, without tag or digest."""
        return f"{self.registry}/{IMAGE}"

    @property
    def node_account(self) -> str:
        """Google service account of the nodes."""
        return self._account("nodes")

    @property
    def deploy_account(self) -> str:
        """Google service account that the deploying job acts as."""
        return self._account("deploy")

    def _account(self, purpose: str) -> str:
        return f"{REPOSITORY}-{purpose}@{self.project}.iam.gserviceaccount.com"

    @property
    def deploy_role(self) -> str:
        """Custom role of the deploying job."""
        return f"projects/{self.project}/roles/{PROJECT_ROLE_ID}"

    @property
    def provider(self) -> str:
        """Workload identity provider, as google-github-actions/auth wants it."""
        return f"{self._pools}/{POOL}/providers/{POOL}"

    @property
    def _pools(self) -> str:
        return f"projects/{self.number}/locations/global/workloadIdentityPools"

    def workload(self, service_account: str) -> str:
        """IAM member: the pods of one Kubernetes service account, without any Google account."""
        pool = f"{self._pools}/{self.project}.svc.id.goog"
        return f"principal://iam.googleapis.com/{pool}/subject/ns/{NAMESPACE}/sa/{service_account}"

    def job(self, environment: str) -> str:
        """IAM member: the repository's jobs that run in one of its GitHub environments."""
        subject = f"{self.github.id}/{environment}"
        return f"principal://iam.googleapis.com/{self._pools}/{POOL}/subject/{subject}"
