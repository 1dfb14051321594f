"""Apply a rendered manifest, wait until it serves, and go back if it does not.

A deployment is: apply, wait, smoke, traces, record; and rollback when one of them fails.
"""

import json
import time
from collections.abc import Callable

import click

from deploy.kubectl import Kubectl
from deploy.names import NAMESPACE, RAY_SERVICE
from deploy.shell import CommandError
from deploy.status import RolloutState, Verdict, active_cluster_name, judge, timed_out
from serve_app.errors import CheckFailedError

RECORD = f"{RAY_SERVICE}-last-good"
"""ConfigMap with the last manifest that passed every check."""
RECORD_KEY = "manifest.yaml"

SETTLE_SECONDS = 15.0
"""KubeRay looks every 2 s and reads Serve's status before it sends a new configuration: the first
RUNNING after a change may still be the old one's."""
POLL_SECONDS = 5.0


def apply(kubectl: Kubectl, manifest: str) -> None:
    """Apply a manifest; first delete a RayService that would ignore it."""
    service = kubectl.get("rayservice", RAY_SERVICE)
    if service and timed_out(service):
        # Nothing is lost: KubeRay has deleted its clusters already.
        kubectl.change("delete", "rayservice", RAY_SERVICE, "--timeout=5m")
    kubectl.apply(manifest)


def look(kubectl: Kubectl) -> Verdict:
    """Judge the service as it is now."""
    service = kubectl.get("rayservice", RAY_SERVICE)
    if service is None:
        return Verdict(RolloutState.FAILED, f"there is no RayService {NAMESPACE}/{RAY_SERVICE}")
    name = active_cluster_name(service)
    return judge(service, kubectl.get("raycluster", name) if name else None)


def wait(
    look: Callable[[], Verdict], deadline_seconds: float, settle_seconds: float | None = None
) -> None:
    """Look again and again until a verdict has held for some seconds; print each change.

    Args:
        look: judges the service; a CommandError counts as waiting.
        deadline_seconds: how long to wait at most; KubeRay itself never gives up on an upgrade.
        settle_seconds: how long it must hold; by default `SETTLE_SECONDS`.

    Raises:
        CheckFailedError: it failed, or the deadline is over; the last reason is in the message.
    """
    settle_seconds = SETTLE_SECONDS if settle_seconds is None else settle_seconds
    start = since = time.monotonic()
    last: Verdict | None = None
    while True:
        try:
            verdict = look()
        except CommandError as error:
            verdict = Verdict(
                RolloutState.WAITING, f"the cluster does not answer: {error.last_line}"
            )
        now = time.monotonic()
        if last is None or verdict.state is not last.state:
            since = now
        if verdict != last:
            click.echo(f"{now - start:5.0f} s  {verdict.state.value}: {verdict.reason}")
        last = verdict
        settled = now - since >= settle_seconds
        if settled and verdict.state is RolloutState.READY:
            return
        if settled and verdict.state is RolloutState.FAILED:
            raise CheckFailedError(verdict.reason)
        if now - start >= deadline_seconds:
            raise CheckFailedError(f"not ready after {deadline_seconds:.0f} s: {verdict.reason}")
        time.sleep(POLL_SECONDS)


def record(kubectl: Kubectl, manifest: str) -> None:
    """Keep a manifest that passed every check: a rollback returns to it."""
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": RECORD, "namespace": NAMESPACE},
        "data": {RECORD_KEY: manifest},
    }
    kubectl.apply(json.dumps(document))


def roll_back(kubectl: Kubectl) -> None:
    """Apply the last manifest that passed every check.

    What serves goes on serving meanwhile: KubeRay starts one more cluster, with the old manifest.

    Raises:
        CheckFailedError: nothing was ever recorded.
    """
    document = kubectl.get("configmap", RECORD)
    if document is None:
        raise CheckFailedError(
            f"nothing to go back to: there is no ConfigMap {NAMESPACE}/{RECORD}, because no "
            "deployment has passed every check yet"
        )
    apply(kubectl, document["data"][RECORD_KEY])
