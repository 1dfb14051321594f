"""Who may do what: accounts, pods, tokens and ports."""

from pathlib import Path
from typing import Any

from deploy.cluster import OPERATOR_PRIORITY
from deploy.names import (
    AUTH_SECRET,
    KUBERAY_NAMESPACE,
    NAMESPACE,
    SERVICE_ACCOUNTS,
)
from serve_app.tracing.failures import _SERVICE_ACCOUNT_TOKEN
from tests.kuberay.manifests import (
    BOTH,
    RayService,
    one,
    rendered,
)


@BOTH
def test_every_service_account_exists(directory: str) -> None:
    """Head and workers have identities of their own, by the names that the grants use."""
    documents = rendered(directory)
    service = RayService(documents)
    used = (service.head_pod["serviceAccountName"], service.worker_pod["serviceAccountName"])
    assert used == SERVICE_ACCOUNTS
    for name in used:
        assert one(documents, "ServiceAccount", name)


@BOTH
def test_replicas_cannot_use_the_kubernetes_api(directory: str) -> None:
    """Their token names its account, for the fix of a missing grant; it opens nothing."""
    service = RayService(rendered(directory))
    assert service.worker_pod["automountServiceAccountToken"] is False
    (mount,) = [each for each in service.worker_container["volumeMounts"] if each["name"] != "tmp"]
    assert f"{mount['mountPath']}/token" == str(_SERVICE_ACCOUNT_TOKEN)
    (volume,) = [each for each in service.worker_pod["volumes"] if each["name"] == mount["name"]]
    (source,) = volume["projected"]["sources"]
    # Without an audience it would be the API server's.
    assert source["serviceAccountToken"] == {"path": "token", "audience": "serve-app"}


def test_the_prerequisites_are_what_the_pods_need() -> None:
    """Namespace and priority classes exist under the names that are used, the operator's above."""
    documents = rendered("prerequisites")
    namespace = one(documents, "Namespace", NAMESPACE)
    labels = namespace["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    service = RayService(rendered("overlays/gke"))
    operator = one(documents, "PriorityClass", OPERATOR_PRIORITY)
    for each in (service.head_pod, service.worker_pod):
        own = one(documents, "PriorityClass", each["priorityClassName"])
        # Pods would preempt the operator in a node drain, and lower ones are preempted by others.
        assert 0 < own["value"] < operator["value"]


@BOTH
def test_pods_meet_the_restricted_standard(directory: str) -> None:
    """No root, no capabilities, a read-only root, and /tmp to write to, in every container."""
    service = RayService(rendered(directory))
    options = service.cluster["autoscalerOptions"]
    for each in (service.head_pod, service.worker_pod):
        context = each["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text(encoding="utf-8")
    user = context["runAsUser"]
    assert f"\nUSER {user}:{context['runAsGroup']}\n" in dockerfile
    assert user >= 10000
    (logs,) = service.worker_pod["initContainers"]
    for container in (service.head_container, service.worker_container, logs, options):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        writable = [mount for mount in container["volumeMounts"] if not mount.get("readOnly")]
        expected = [] if container is logs else [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
        assert writable == expected


@BOTH
def test_the_dashboard_asks_for_the_token(directory: str) -> None:
    """Only the literal mode makes KubeRay set it; the Secret is the one that the set-up makes."""
    options = RayService(rendered(directory)).cluster["authOptions"]
    assert options == {"mode": "token", "secretName": AUTH_SECRET}


@BOTH
def test_ray_ports_are_closed_to_others(directory: str) -> None:
    """But for Serve's port, only Ray nodes, KubeRay's operator and the monitoring get through."""
    policy = one(rendered(directory), "NetworkPolicy", "ray-nodes")["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    admitted: dict[str, Any] = {}
    for rule in policy["ingress"]:
        for peer in rule.get("from", []):
            namespace = peer.get("namespaceSelector", {}).get("matchLabels", {})
            name = namespace.get("kubernetes.io/metadata.name", "same namespace")
            admitted[name] = [port["port"] for port in rule.get("ports", [])]
    monitoring = {"gmp-system": [8080, 44217, 44227]} if directory == "overlays/gke" else {}
    assert admitted == {"same namespace": [], KUBERAY_NAMESPACE: [8265]} | monitoring
