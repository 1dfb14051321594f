"""Clients inside the cluster: Python in a pod of its own, in a namespace of its own."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from deploy.kubectl import Kubectl
from deploy.shell import Shell
from serve_app.errors import CheckFailedError
from studies.e2e.cluster import POLL_SECONDS, Cluster


@contextmanager
def foreign_namespace(cluster: Cluster, name: str) -> Iterator[Kubectl]:
    """A namespace whose pods are no friends of the service's; it goes at the end."""
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    cluster.everywhere.apply(json.dumps(document))
    try:
        yield Kubectl(Shell(), cluster.context, namespace=name)
    finally:
        cluster.everywhere.change("delete", "namespace", name, "--wait=false")


def run_once(
    kubectl: Kubectl,
    image: str,
    script: str,
    arguments: Sequence[str],
    *,
    memory: str = "128Mi",
    seconds: float = 120,
) -> str:
    """Run Python in a pod of its own, as a client inside the cluster; returns what it printed.

    Raises:
        CheckFailedError: it failed, or has not ended in time.
    """
    name = f"e2e-{secrets.token_hex(4)}"
    container: Mapping[str, Any] = {
        "name": "probe",
        "image": image,
        "command": ["python", "-c", script, *arguments],
        "resources": {
            "requests": {"cpu": "50m", "memory": memory},
            "limits": {"memory": memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    spec = {"restartPolicy": "Never", "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    kubectl.apply(json.dumps(pod))
    try:
        deadline = time.monotonic() + seconds
        while True:
            found = kubectl.get("pod", name) or {}
            phase = found.get("status", {}).get("phase")
            if phase in ("Succeeded", "Failed"):
                break
            if time.monotonic() > deadline:
                raise CheckFailedError(f"pod {name} is {phase} after {seconds:.0f} s")
            time.sleep(POLL_SECONDS)
        printed = kubectl.read("logs", name)
    finally:
        kubectl.change("delete", "pod", name, "--wait=false")
    if phase == "Failed":
        raise CheckFailedError(f"in a pod of namespace {found['metadata']['namespace']}: {printed}")
    return printed
