"""Counts pods and nodes from the Kubernetes API, through kubectl."""

import json
import subprocess
from typing import Any

from loadtest.scale.dashboard import DashboardError, in_one_line
from loadtest.scale.ray_answers import Nodes

KUBECTL_SECONDS = 10.0
WORKER_SELECTOR = "ray.io/node-type=worker"
"""KubeRay labels its worker pods so."""


class Pods:
    """The worker pods of one namespace: a Ray node is a pod there."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def nodes(self) -> Nodes:
        """Worker pods: all as wanted, the ready ones as running.

        Raises:
            DashboardError: kubectl is missing, or does not answer.
        """
        return count_pods(self._kubectl("get", "pods", "-l", WORKER_SELECTOR, "-o", "json"))

    def _kubectl(self, *arguments: str) -> dict[str, Any]:
        command = ["kubectl", "--namespace", self._namespace, *arguments]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=KUBECTL_SECONDS, check=True
            )
            answer: dict[str, Any] = json.loads(done.stdout)
        except FileNotFoundError as error:
            raise DashboardError("kubectl is not installed; omit --namespace") from error
        except subprocess.CalledProcessError as error:
            raise DashboardError(f"kubectl: {in_one_line(error.stderr)}") from error
        except (subprocess.TimeoutExpired, ValueError) as error:
            raise DashboardError(f"kubectl did not answer as it should: {error}") from error
        return answer


def count_pods(answer: dict[str, Any]) -> Nodes:
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
    return Nodes(wanted=len(pods), running=ready, machines=len(machines))
