"""The NetworkPolicy is enforced: from outside the namespace only predictions are answered."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from deploy.names import NAMESPACE
from serve_app.errors import CheckFailedError
from serve_app.runtime.ports import FIXED_PORTS
from serve_app.serve_config import DEFAULT_GRPC_PORT, DEFAULT_PORT
from studies.e2e.clients import foreign_namespace, run_once
from studies.e2e.cluster import Cluster

ELSEWHERE = "e2e-elsewhere"
PREDICTIONS = (DEFAULT_PORT, DEFAULT_GRPC_PORT)
PORTS: Mapping[str, Sequence[int]] = {
    # GCS, dashboard, agent's metrics, Ray client.
    "head": (*PREDICTIONS, 6379, 8265, 8080, 10001, *FIXED_PORTS.values()),
    # Agent's metrics, replicas' servers of HTTP and of gRPC.
    "worker": (
        *(*PREDICTIONS, 8080, *FIXED_PORTS.values()),
        *(*range(30000, 30004), *range(40000, 40004)),
    ),
}
Port = list[Any]
"""Address and port, as JSON has them."""
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
    """Try the ports of a head and a worker from another namespace.

    Returns:
        A note.

    Raises:
        CheckFailedError: see `judged`.
    """
    tried = [
        [pod["status"]["podIP"], port]
        for node_type, ports in PORTS.items()
        for pod in cluster.pods(node_type)[:1]
        for port in ports
    ]
    with foreign_namespace(cluster, ELSEWHERE) as outside:
        opened = json.loads(run_once(outside, image, TRY, [json.dumps(tried)]))
    return judged(tried, opened)


def judged(tried: Sequence[Port], opened: Sequence[Port]) -> str:
    """What open ports say of the policy; returns a note.

    Raises:
        CheckFailedError: a port is open that should not be, or predictions are refused; or
            nothing enforces the policy.
    """
    named = " and ".join(map(str, PREDICTIONS))
    if opened != [pair for pair in tried if pair[1] in PREDICTIONS]:
        ports = sorted({port for _, port in opened})
        raise CheckFailedError(
            f"from namespace {ELSEWHERE} ports {ports} answer, not {named} of each pod and no "
            "other; does anything in this cluster enforce a NetworkPolicy?"
        )
    return f"of {len(tried)} ports only {named} answer outside {NAMESPACE}"
