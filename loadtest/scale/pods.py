"""Counts worker pods and their nodes with kubectl."""

from deploy.kubectl import Documents, Kubectl
from deploy.shell import Shell
from deploy.status import is_ready
from loadtest.scale.samples import WorkerNodes
from serve_app.errors import UserError, excerpt

TIMEOUT_SECONDS = 10.0
WORKERS = "ray.io/node-type=worker"
"""KubeRay labels its worker pods so."""


class Pods:
    """The worker pods of one namespace: on Kubernetes, each Ray node is a pod."""

    def __init__(self, namespace: str) -> None:
        self._kubectl = Kubectl(Shell(), namespace=namespace, seconds=TIMEOUT_SECONDS)

    def nodes(self) -> WorkerNodes:
        """Worker pods: all that live as desired, those that are ready as running.

        Raises:
            UserError: kubectl is missing, or does not answer as it should.
        """
        try:
            return count_pods(self._kubectl.list("pods", WORKERS))
        except (UserError, ValueError, LookupError, TypeError) as error:
            raise UserError(
                f"kubectl cannot list the worker pods: {excerpt(str(error))}; omit --namespace to "
                "do without"
            ) from error


def count_pods(pods: Documents) -> WorkerNodes:
    """Counts of ``pods``, without those that have ended or are being deleted."""
    alive = [
        pod
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        and pod["status"]["phase"] in ("Pending", "Running")
    ]
    machines = {pod["spec"]["nodeName"] for pod in alive if "nodeName" in pod["spec"]}
    return WorkerNodes(
        desired=len(alive), running=sum(map(is_ready, alive)), machines=len(machines)
    )
