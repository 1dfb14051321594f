"""RayServices and RayClusters as KubeRay 1.7.0 leaves them, at each stage of a rollout.

Written after `calculateStatus` and `calculateConditions` of its controller: what is set together,
which condition keeps which reason, and what is left out.
"""

import copy
from typing import Any

Document = dict[str, Any]

OLD = "europe-west1-docker.pkg.dev/p/serve-app/serve-app@sha256:" + "a" * 64
NEW = "europe-west1-docker.pkg.dev/p/serve-app/serve-app@sha256:" + "b" * 64
OLD_CLUSTER, NEW_CLUSTER = "classifier-7kq2w", "classifier-x9d4f"


def condition(name: str, status: str, reason: str, message: str = "") -> Document:
    return {
        "type": name,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-09-01T12:00:00Z",
        "observedGeneration": 1,
    }


READY = condition("Ready", "True", "NonZeroServeEndpoints")
NOT_READY = condition("Ready", "False", "Initializing", "RayService is initializing")
NO_UPGRADE = condition("UpgradeInProgress", "False", "NoPendingCluster")
UPGRADE = condition("UpgradeInProgress", "True", "BothActivePendingClustersExist")
STARTING = condition("UpgradeInProgress", "False", "Initializing", "RayService is initializing")


def cluster_spec(image: str) -> Document:
    def template(name: str) -> Document:
        return {"spec": {"containers": [{"name": name, "image": image}]}}

    return {
        "rayVersion": "2.60.0",
        "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": template("ray-head")},
        "workerGroupSpecs": [
            {"groupName": "replicas", "maxReplicas": 5, "template": template("ray-worker")}
        ],
    }


def ray_cluster(name: str, image: str) -> Document:
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": name, "namespace": "serve-app"},
        "spec": cluster_spec(image),
    }


def application(status: str, message: str = "", deployment_message: str = "") -> Document:
    deployment = {"status": "HEALTHY" if status == "RUNNING" else "UPDATING"}
    if deployment_message:
        deployment |= {"status": "DEPLOY_FAILED", "message": deployment_message}
    return {
        "classifier": {
            "status": status,
            "message": message,
            "serveDeploymentStatuses": {"Classifier": deployment},
        }
    }


def ray_service(
    image: str,
    *,
    generation: int,
    observed: int | None,
    conditions: list[Document],
    active: Document | None = None,
    pending: Document | None = None,
    endpoints: int = 0,
) -> Document:
    status: Document = {
        "conditions": conditions,
        "numServeEndpoints": endpoints,
        "serviceStatus": "Running" if READY in conditions else "",
        # Serialised even when nothing is in them.
        "activeServiceStatus": active or {"rayClusterStatus": {"head": {}}},
        "pendingServiceStatus": pending or {"rayClusterStatus": {"head": {}}},
    }
    if observed is not None:
        status["observedGeneration"] = observed
    document = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "classifier", "namespace": "serve-app", "generation": generation},
        "spec": {
            "serveConfigV2": "applications:\n  - {name: classifier, import_path: a:b}\n",
            "rayClusterConfig": cluster_spec(image),
        },
        "status": status,
    }
    return copy.deepcopy(document)


def part(name: str, applications: Document | None = None) -> Document:
    status: Document = {"rayClusterName": name, "rayClusterStatus": {"state": "ready"}}
    if applications:
        status["applicationStatuses"] = applications
    return status


def serving() -> Document:
    """The old image serves, and nothing is under way."""
    return ray_service(
        OLD,
        generation=1,
        observed=1,
        conditions=[READY, NO_UPGRADE],
        active=part(OLD_CLUSTER, application("RUNNING")),
        endpoints=3,
    )


def applied() -> Document:
    """The new image was applied a moment ago; the status is all from before."""
    return ray_service(
        NEW,
        generation=2,
        observed=1,
        conditions=[READY, NO_UPGRADE],
        active=part(OLD_CLUSTER, application("RUNNING")),
        endpoints=3,
    )


def upgrading(applications: Document | None = None) -> Document:
    """Both clusters exist; the old one's applications are no longer reported."""
    return ray_service(
        NEW,
        generation=2,
        observed=2,
        conditions=[READY, UPGRADE],
        active=part(OLD_CLUSTER),
        pending=part(NEW_CLUSTER, applications),
        endpoints=3,
    )


def upgraded() -> Document:
    """The new image serves."""
    return ray_service(
        NEW,
        generation=2,
        observed=2,
        conditions=[READY, NO_UPGRADE],
        active=part(NEW_CLUSTER, application("RUNNING")),
        endpoints=3,
    )


def starting(applications: Document | None = None) -> Document:
    """The very first cluster is on its way."""
    return ray_service(
        NEW,
        generation=1,
        observed=1,
        conditions=[NOT_READY, STARTING],
        pending=part(NEW_CLUSTER, applications),
    )


def timed_out() -> Document:
    """The first cluster took longer than ray.io/initializing-timeout."""
    message = (
        "RayService failed to become ready within the configured timeout of 20m0s. "
        "Time spent initializing: 20m1.5s"
    )
    ready = condition("Ready", "False", "InitializingTimeout", message)
    return ray_service(NEW, generation=1, observed=1, conditions=[ready, STARTING])


def refused() -> Document:
    """The latest specification is invalid; the old cluster goes on."""
    message = "spec.rayClusterConfig.workerGroupSpecs[0].maxReplicas must be positive"
    document = applied()
    ready = condition("Ready", "False", "ValidationFailed", message)
    document["status"]["conditions"] = [ready, NO_UPGRADE]
    return document


def active() -> dict[str, Document]:
    """What the API server holds while the old image serves, by kind and name."""
    cluster = ray_cluster(OLD_CLUSTER, OLD)
    return {"rayservice/classifier": serving(), f"raycluster/{OLD_CLUSTER}": cluster}


def ray_pods(cluster: str) -> dict[str, list[str]]:
    """Pods of a Ray cluster, by the selector that finds them."""
    return {
        f"ray.io/cluster={cluster},ray.io/node-type=head": ["pod/h"],
        f"ray.io/cluster={cluster},ray.io/node-type=worker": ["pod/w", "pod/v"],
    }
