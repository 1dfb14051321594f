"""What the cluster has before and after the service, and whether it would take each manifest."""

import json
import time
from collections.abc import Sequence

from deploy.checks import RAY_PODS
from deploy.cluster import prepare_cluster
from deploy.kubectl import Document
from deploy.names import NAMESPACE, RAY_SERVICE
from serve_app.errors import CheckFailedError
from studies.e2e import permissions
from studies.e2e.cluster import DEPLOYER
from studies.e2e.story import Story

_GATEWAY = "https://github.com/kubernetes-sigs/gateway-api//config/crd"
_GKE = "https://raw.githubusercontent.com/GoogleCloudPlatform"
_POLICIES = (
    "cce161862be77c541b1b1eac8899e7012f5a9985/gateway-api/config/servicepolicies/crd/standard"
)
_MONITORING = "2ffde4ec7b7e4ca1da4e32f36b692945b78a60e4/charts/operator/crds"
CRDS = (
    f"{_GATEWAY}?ref=477d172e6ac5eccb82b65781ddb8f924afec4170",  # release 1.4.1
    f"{_GKE}/gke-networking-recipes/{_POLICIES}/gcpbackendpolicies.yaml",
    f"{_GKE}/gke-networking-recipes/{_POLICIES}/healthcheckpolicy.yaml",
    f"{_GKE}/prometheus-engine/{_MONITORING}/monitoring.googleapis.com_podmonitorings.yaml",
)
"""What GKE has and other clusters lack: kinds that the manifests use."""
POD_SECURITY = "pod-security.kubernetes.io/enforce"
LIMITS: Sequence[Document] = (
    {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "e2e"},
        "spec": {
            "hard": {
                "requests.cpu": "40",
                "requests.memory": "60Gi",
                "limits.memory": "60Gi",
                "pods": "40",
            }
        },
    },
    {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "e2e"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "8Gi"}, "min": {"cpu": "5m"}}]},
    },
)
"""What shared clusters set: a pod that names no requests and no limit of memory is refused."""
CHECKED = (("gke", ""), ("local", "gateway"), ("local", ""))
"""Overlays, and components that are not in one."""


def prepare(story: Story, *, is_prepared: bool) -> str | None:
    """Namespace, priorities, KubeRay, token; the deploying account's role; limits, as many have."""
    if not is_prepared:
        prepare_cluster(story.cluster.kubectl.shell, story.cluster.context)
    namespace = story.cluster.everywhere.get("namespace", NAMESPACE) or {"metadata": {}}
    level = namespace["metadata"].get("labels", {}).get(POD_SECURITY)
    if level != "restricted":
        raise CheckFailedError(f"pod security of namespace {NAMESPACE} is {level}, not restricted")
    for document in LIMITS:
        story.cluster.kubectl.apply(json.dumps(document))
    permissions.grant(story.cluster)
    return f"{permissions.check()}; pod security {level}, a ResourceQuota and a LimitRange"


def check_manifests(story: Story) -> str:
    """The deploying account may apply every overlay and component, and no field is unknown."""
    for each in story.crds:
        story.cluster.everywhere.change(
            *("apply", "--server-side", "--force-conflicts"),
            f"--{'kustomize' if '?ref=' in each else 'filename'}={each}",
        )
    for overlay, component in CHECKED:
        what = f"overlay {overlay}{component and f' with {component}'}"
        story.cluster.deployer.change(
            *("apply", "--server-side", "--dry-run=server", "--validate=strict"),
            *("--force-conflicts", "--filename=-"),
            stdin=story.cluster.render(overlay, [component] if component else []),
            note=what,
        )
    return f"{len(CHECKED)} combinations of overlays and components accepted"


def delete(story: Story) -> str:
    """Everything of the service goes, in order; the cluster itself stays prepared."""
    began = time.monotonic()
    kubectl = story.cluster.kubectl
    kubectl.change("delete", "rayservice", RAY_SERVICE, "--ignore-not-found", "--timeout=10m")
    kubectl.read("wait", "--for=delete", "pods", RAY_PODS, "--timeout=5m")
    rest = "services,serviceaccounts,networkpolicies,poddisruptionbudgets,configmaps"
    part = "--selector=app.kubernetes.io/part-of=serve-app"
    kubectl.change("delete", rest, part)
    kubectl.change("delete", "rolebinding", DEPLOYER, "--ignore-not-found")
    for document in LIMITS:
        kubectl.change("delete", document["kind"], document["metadata"]["name"])
    if left := kubectl.names("pods"):
        raise CheckFailedError(f"pods are left in {NAMESPACE}: {', '.join(left)}")
    return f"nothing is left after {time.monotonic() - began:.0f} s"
