"""Counts worker pods and their nodes with kubectl."""

import json
from typing import Any

from deploy.kubectl import Kubectl
from deploy.shell import Shell
from loadtest.scale.samples import WorkerNodes
from serve_app.errors import UserError, excerpt

TIMEOUT_SECONDS = 10.0
WORKER_SELECTOR = "--selector=ray.io/node-type=worker"
"""KubeRay labels its worker pods so."""


class PodsError(UserError):
    """Pods that cannot be counted: gives kubectl's reason."""


class Pods:
    """The worker pods of one namespace: on Kubernetes, each Ray node is a pod."""

    def __init__(self, namespace: str) -> None:
        shell = Shell(say=lambda _line: None)
        self._kubectl = Kubectl(shell, namespace=namespace, seconds=TIMEOUT_SECONDS)

    def nodes(self) -> WorkerNodes:
        """Worker pods: all that live as desired, those that are ready as running.

        Raises:
            PodsError: kubectl is missing, or does not answer as it should.
        """
        try:
            answer = self._kubectl.read("get", "pods", WORKER_SELECTOR, "-ojson")
            return count_pods(json.loads(answer))
        except (UserError, ValueError, LookupError, TypeError) as error:
            raise PodsError(
                f"kubectl cannot list the worker pods: {excerpt(str(error))}; omit --namespace to "
                "do without"
            ) from error


def count_pods(answer: Any) -> WorkerNodes:
    """Pods of ``kubectl get pods -o json``, without those that have ended or are being deleted."""
    pods = [
        pod
        for pod in answer["items"]
        if "deletionTimestamp" not in pod["metadata"]
        and pod["status"]["phase"] in ("Pending", "Running")
    ]
    ready = sum(
        any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in pod["status"].get("conditions", [])
        )
        for pod in pods
    )
    machines = {pod["spec"]["nodeName"] for pod in pods if "nodeName" in pod["spec"]}
    return WorkerNodes(desired=len(pods), running=ready, machines=len(machines))
