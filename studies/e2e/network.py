"""The NetworkPolicy is enforced: from outside the namespace only predictions are answered."""

import json
from collections.abc import Mapping, Sequence

from deploy.kubectl import Kubectl
from deploy.names import NAMESPACE
from deploy.shell import Shell
from serve_app.errors import CheckFailedError
from serve_app.serve_config import DEFAULT_PORT
from studies.e2e.cluster import Cluster, run_once

ELSEWHERE = "e2e-elsewhere"
"""A namespace whose pods are no friends of the service's."""
PREDICTIONS = DEFAULT_PORT
PORTS: Mapping[str, Sequence[int]] = {
    # GCS, dashboard, agent's metrics, Ray client, autoscaler's and dashboard's metrics.
    "head": (6379, 8265, 8080, 10001, 44217, 44227),
    # HAProxy's health and statistics, agent's metrics, replicas.
    "worker": (PREDICTIONS, 9101, 8404, 8080, *range(30000, 30004)),
}
TRY = """
import json, socket, sys
def answers(address, port):
    try:
        with socket.create_connection((address, port), 2):
            return True
    except OSError:
        return False
asked = json.loads(sys.argv[1])
print(json.dumps([pair for pair in asked if answers(*pair)]))
"""


def check(cluster: Cluster, image: str) -> str:
    """Try the ports of a head and a worker from another namespace, and from the service's own.

    Returns:
        A note.

    Raises:
        CheckFailedError: a port is open that should not be, or predictions are refused; or
            nothing enforces the policy.
    """
    cluster.everywhere.apply(
        json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}})
    )
    try:
        tried = [
            (pod["status"]["podIP"], port)
            for node_type, ports in PORTS.items()
            for pod in cluster.pods(node_type)[:1]
            for port in ports
        ]
        outside = Kubectl(Shell(), cluster.context, namespace=ELSEWHERE)
        opened = json.loads(run_once(outside, image, TRY, [json.dumps(tried)]))
    finally:
        cluster.everywhere.change("delete", "namespace", ELSEWHERE, "--wait=false")
    ports = sorted({port for _, port in opened})
    if ports != [PREDICTIONS]:
        raise CheckFailedError(
            f"from namespace {ELSEWHERE} ports {ports} answer, not only {PREDICTIONS}; does "
            "anything in this cluster enforce a NetworkPolicy?"
        )
    return f"of {len(tried)} ports only {PREDICTIONS} answers outside {NAMESPACE}"
