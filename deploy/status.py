"""Status documents in, verdict out: is what was applied what now serves?

KubeRay's condition ``Ready`` cannot say it: during an upgrade it stays true for the old cluster.
Sources: ``calculateStatus`` and ``shouldPrepareNewCluster`` in KubeRay 1.7.0,
ray-operator/controllers/ray/rayservice_controller.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import yaml

Document = Mapping[str, Any]

UNHEALTHY = "UNHEALTHY"
"""Serve's word for an application that ran, and whose replicas have failed."""


class RolloutState(Enum):
    """What a status means for a rollout."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True)
class Verdict:
    """A state and, in words, why."""

    state: RolloutState
    reason: str


def judge(service: Document, active_cluster: Document | None) -> Verdict:
    """Judge a RayService by its own status and by the RayCluster that takes the traffic.

    Both as the API server returns them; ``active_cluster`` is the one that ``active_cluster_name``
    names, None if there is none.

    Returns:
        READY only if KubeRay has seen the latest specification, no other cluster is on its way,
        the active one runs the images asked for, and every application runs and has endpoints.
    """
    if failure := _failure(service):
        return Verdict(RolloutState.FAILED, failure)
    if obstacle := _obstacle(service, active_cluster):
        return Verdict(RolloutState.WAITING, obstacle)
    return Verdict(
        RolloutState.READY,
        f"cluster {active_cluster_name(service)} serves generation {_generation(service)} "
        f"on {service['status']['numServeEndpoints']} endpoints",
    )


def is_ready(pod: Document) -> bool:
    """Whether a pod is ready, and not being deleted."""
    return "deletionTimestamp" not in pod["metadata"] and any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod["status"].get("conditions", [])
    )


def active_cluster_name(service: Document) -> str:
    """Name of the RayCluster that takes the traffic; empty before there is one."""
    return str(_status(service, "activeServiceStatus").get("rayClusterName", ""))


def timed_out(service: Document) -> bool:
    """Whether KubeRay has given up: it deleted every cluster and ignores further changes."""
    return bool(_condition(service, "Ready").get("reason") == "InitializingTimeout")


def _failure(service: Document) -> str:
    ready = _condition(service, "Ready")
    if service["metadata"].get("deletionTimestamp"):
        return "the RayService is being deleted"
    if timed_out(service):
        return (
            f"{ready.get('message')}; KubeRay deleted its clusters and ignores further changes: "
            "delete the RayService and apply it anew"
        )
    if _is_unseen(service):
        # An invalid one is never counted as observed. What else the status says is of an older one.
        if ready.get("reason") == "ValidationFailed":
            return f"KubeRay refuses the specification: {ready.get('message')}"
        return ""
    for part in ("pendingServiceStatus", "activeServiceStatus"):
        for name, application in _applications(service, part).items():
            if application.get("status") == "DEPLOY_FAILED":
                return f"application {name} failed to deploy: {_explain(application)}"
    return ""


def _obstacle(service: Document, active_cluster: Document | None) -> str:
    if _is_unseen(service):
        return f"KubeRay has not seen generation {_generation(service)} yet"
    pending = _status(service, "pendingServiceStatus").get("rayClusterName")
    if pending:
        return f"cluster {pending} starts: {_progress(service, 'pendingServiceStatus')}"
    if active_cluster is None:
        return "there is no cluster yet"
    upgrade = _condition(service, "UpgradeInProgress").get("status")
    if upgrade != "False":
        return f"UpgradeInProgress is {upgrade}"
    return _missing(service, active_cluster)


def _missing(service: Document, active_cluster: Document) -> str:
    name = active_cluster_name(service)
    asked, running = _images(service["spec"]["rayClusterConfig"]), _images(active_cluster["spec"])
    if asked != running:
        return f"cluster {name} still runs {running}, not {asked}"
    found = _applications(service, "activeServiceStatus")
    expected = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    names = (application.get("name", "default") for application in expected)
    if any(found.get(each, {}).get("status") != "RUNNING" for each in names):
        return f"cluster {name}: {_progress(service, 'activeServiceStatus')}"
    has_endpoints = service["status"].get("numServeEndpoints")
    if _condition(service, "Ready").get("status") != "True" or not has_endpoints:
        return f"cluster {name} has no endpoints yet"
    return ""


def _generation(service: Document) -> int:
    return int(service["metadata"]["generation"])


def _is_unseen(service: Document) -> bool:
    return (_status(service, "observedGeneration") or 0) < _generation(service)


def _condition(service: Document, name: str) -> Document:
    conditions = _status(service, "conditions") or []
    return next((entry for entry in conditions if entry["type"] == name), {})


def _status(service: Document, part: str) -> Any:
    return (service.get("status") or {}).get(part) or {}


def _applications(service: Document, part: str) -> dict[str, Document]:
    return _status(service, part).get("applicationStatuses") or {}


def _images(cluster: Document) -> dict[str, str]:
    """Image of the Ray container, which is always the first one, by group."""
    groups = {"head": cluster["headGroupSpec"]}
    groups |= {group["groupName"]: group for group in cluster.get("workerGroupSpecs") or []}
    return {
        name: group["template"]["spec"]["containers"][0]["image"] for name, group in groups.items()
    }


def _progress(service: Document, part: str) -> str:
    applications = _applications(service, part)
    if not applications:
        return "Serve has not answered yet"
    return "; ".join(map(_describe, applications, applications.values()))


def _describe(name: str, application: Document) -> str:
    status = application.get("status", "unknown")
    said = f"application {name} is {status} {_explain(application)}".rstrip()
    # Serve says that a replica has failed; why one does not start again is only in its log.
    if status == UNHEALTHY:
        said += "; `serve-app k8s diagnose` shows the replicas' logs, a refused model among them"
    return said


def _explain(application: Document) -> str:
    deployments = application.get("serveDeploymentStatuses") or {}
    messages = [application.get("message"), *(d.get("message") for d in deployments.values())]
    return " / ".join(dict.fromkeys(message.strip() for message in messages if message))
