"""What must agree between the documents of an overlay, the Serve config and the code."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private.ray_constants import (
    DEFAULT_DASHBOARD_AGENT_LISTEN_PORT,
    RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S,
)
from ray.serve._private.constants import (
    PROXY_HEALTH_CHECK_PERIOD_S,
    PROXY_HEALTH_CHECK_UNHEALTHY_THRESHOLD,
    PROXY_MIN_DRAINING_PERIOD_S,
)

from deploy.cluster import OPERATOR_PRIORITY
from deploy.names import (
    AUTH_SECRET,
    IMAGE,
    KUBERAY_NAMESPACE,
    NAMESPACE,
    PUBLIC_SERVICE,
    SERVICE_ACCOUNTS,
)
from deploy.render import NO_IMAGE, release
from serve_app.cli import pod
from serve_app.ray_internals.haproxy import HEALTH_PATH
from serve_app.ray_internals.nodes import SESSION_LOGS
from serve_app.runtime.ingress import REQUESTS_PER_REPLICA
from serve_app.runtime.local_service import OBJECT_STORE_BYTES
from serve_app.runtime.ports import FIXED_PORTS
from serve_app.runtime.request_limits import SERVER_TIMEOUT
from serve_app.runtime.waits import Waits
from serve_app.tracing.failures import _SERVICE_ACCOUNT_TOKEN
from tests.kuberay.manifests import (
    OPTIONAL,
    OVERLAYS,
    Document,
    RayService,
    one,
    rendered,
    rendered_release,
    rendered_with,
)

SERVE_PORT = 8000
RAY_WORKER_PORTS = range(10002, 20000)
"""Defaults of `ray start`, options --min-worker-port and --max-worker-port."""
BOTH = pytest.mark.parametrize("directory", OVERLAYS)


@BOTH
def test_replicas_fit_workers(directory: str) -> None:
    """A worker holds a whole number of replicas; the workers reach min and max replicas."""
    service = RayService(rendered(directory))
    cpus = service.deployment["ray_actor_options"]["num_cpus"]
    per_worker, rest = divmod(service.cpus_per_worker, cpus)
    assert rest == 0
    assert per_worker >= 1
    scaling = service.deployment["autoscaling_config"]
    surge = math.ceil(scaling["max_replicas"] * service.deployment["max_surge_percent"] / 100)
    assert service.workers["maxReplicas"] * per_worker >= scaling["max_replicas"] + surge
    assert service.workers["minReplicas"] * per_worker >= scaling["min_replicas"]
    assert service.workers["replicas"] == service.workers["minReplicas"]


def test_production_survives_a_node() -> None:
    """On GKE there are always two workers, in different zones, and the head's state is stored."""
    service = RayService(rendered("overlays/gke"))
    assert service.workers["minReplicas"] >= 2
    assert service.deployment["autoscaling_config"]["min_replicas"] >= 2
    keys = [entry["topologyKey"] for entry in service.worker_pod["topologySpreadConstraints"]]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert service.cluster["gcsFaultToleranceOptions"]["backend"] == "rocksdb"


@BOTH
def test_the_head_holds_no_replica(directory: str) -> None:
    """Ray has no CPU to place a replica on the head, and is not evicted for a smaller cluster."""
    service = RayService(rendered(directory))
    assert service.head["rayStartParams"]["num-cpus"] == "0"
    annotations = service.head["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


@BOTH
def test_autoscaling_is_version_2(directory: str) -> None:
    """Only the explicit version makes KubeRay set what version 2 needs."""
    service = RayService(rendered(directory))
    assert service.cluster["enableInTreeAutoscaling"] is True
    assert service.cluster["autoscalerOptions"]["version"] == "v2"
    for each in (service.head_pod, service.worker_pod):
        assert each.get("restartPolicy", "Never") == "Never"


@BOTH
def test_ray_is_the_installed_one(directory: str) -> None:
    """KubeRay chooses the form of its probes by this version."""
    assert RayService(rendered(directory)).cluster["rayVersion"] == ray.__version__


@BOTH
def test_the_ports_agree(directory: str) -> None:
    """Config, containers, Service and policy name the same port, and so does the image.

    The probe asks the port for which HAProxy reserves connections, and nobody else can reach it.
    """
    documents = rendered(directory)
    service = RayService(documents)
    assert service.serve_config["http_options"]["port"] == SERVE_PORT
    for container in (service.head_container, service.worker_container):
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports["serve"] == SERVE_PORT
    probe = service.worker_container["readinessProbe"]["httpGet"]
    assert probe == {"path": HEALTH_PATH, "port": "health"}
    assert ports["health"] == FIXED_PORTS["RAY_SERVE_HAPROXY_METRICS_PORT"]
    (public,) = one(documents, "Service", PUBLIC_SERVICE)["spec"]["ports"]
    assert public["targetPort"] == "serve"
    policy = one(documents, "NetworkPolicy", "ray-nodes")
    open_to_all = [rule["ports"] for rule in policy["spec"]["ingress"] if "from" not in rule]
    assert open_to_all == [[{"protocol": "TCP", "port": SERVE_PORT}]]
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^EXPOSE (\d+)$", dockerfile, re.MULTILINE) == [str(SERVE_PORT)]
    assert f"127.0.0.1:{SERVE_PORT}/-/healthz" in dockerfile


def pre_stop(container: Document) -> list[str]:
    return list(container["lifecycle"]["preStop"]["exec"]["command"])


def is_ordered(*seconds: float) -> bool:
    """Whether each is longer than the one before."""
    return list(seconds) == sorted(set(seconds))


@BOTH
def test_what_stops_waits_for_what_answers(directory: str) -> None:
    """Request < proxy < replica < node < preStop < grace period < deletion of the old cluster."""
    service = RayService(rendered(directory))
    replica = max(PROXY_MIN_DRAINING_PERIOD_S, service.deployment["graceful_shutdown_timeout_s"])
    # No option changes the waits that are compared here.
    assert pre_stop(service.worker_container) == [
        *("serve-app", "pod", str(pod.drain.name), "--log=/proc/1/fd/1")
    ]
    waits = Waits()
    assert is_ordered(
        service.serve_config["http_options"]["request_timeout_s"],
        waits.proxy,
        replica,
        waits.node,
    )
    assert is_ordered(
        waits.node,
        waits.total,
        service.worker_pod["terminationGracePeriodSeconds"],
        service.spec["rayClusterDeletionDelaySeconds"],
    )


def test_the_proxy_leaves_before_serve_would_start_another() -> None:
    """Serve counts failed health checks of a proxy; on a node that drains it starts none."""
    patience = PROXY_HEALTH_CHECK_PERIOD_S * (PROXY_HEALTH_CHECK_UNHEALTHY_THRESHOLD - 1)
    assert Waits().proxy < patience


@BOTH
def test_the_head_outlives_the_workers(directory: str) -> None:
    """All pods of an old cluster stop at once; workers that drain need the head until the end."""
    service = RayService(rendered(directory))
    command, seconds = pre_stop(service.head_container)
    assert command == "sleep"
    assert int(seconds) >= service.worker_pod["terminationGracePeriodSeconds"]
    own_drain = RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S
    assert int(seconds) + own_drain < service.head_pod["terminationGracePeriodSeconds"]


def test_the_load_balancer_drains_in_between(tmp_path: Path) -> None:
    """The gateway sends to a stopping pod no longer than the old cluster lives."""
    documents = rendered_with("gateway", tmp_path)
    service = RayService(documents)
    policy = one(documents, "GCPBackendPolicy", "classifier")["spec"]["default"]
    grace = service.worker_pod["terminationGracePeriodSeconds"]
    draining = policy["connectionDraining"]["drainingTimeoutSec"]
    deletion = service.spec["rayClusterDeletionDelaySeconds"]
    assert is_ordered(Waits().total, grace, draining, deletion)
    assert service.serve_config["http_options"]["request_timeout_s"] < policy["timeoutSec"]
    health = one(documents, "HealthCheckPolicy", "classifier")["spec"]
    probe = service.worker_container["readinessProbe"]["httpGet"]
    asked = health["default"]["config"]["httpHealthCheck"]
    assert (asked["requestPath"], asked["port"]) == (probe["path"], SERVE_PORT)
    for kind in ("GCPBackendPolicy", "HealthCheckPolicy"):
        target = one(documents, kind, "classifier")["spec"]["targetRef"]
        assert (target["kind"], target["name"]) == ("Service", PUBLIC_SERVICE)
    (rule,) = one(documents, "HTTPRoute", "classifier")["spec"]["rules"]
    (backend,) = rule["backendRefs"]
    public = one(documents, "Service", PUBLIC_SERVICE)["spec"]
    assert backend == {"name": PUBLIC_SERVICE, "port": public["ports"][0]["port"]}
    assert public["type"] == "ClusterIP"


def test_every_image_is_the_same_digest() -> None:
    """Head and worker of the overlay gke run one image, named by its digest."""
    service = RayService(rendered("overlays/gke"))
    images = {service.head_container["image"], service.worker_container["image"]}
    assert images == {NO_IMAGE}
    assert "image" not in service.cluster["autoscalerOptions"]


def test_the_local_image_is_never_pulled() -> None:
    """The overlay local runs one image that only the nodes have."""
    service = RayService(rendered("overlays/local"))
    images = {service.head_container["image"], service.worker_container["image"]}
    assert images == {f"localhost/{IMAGE}:local"}


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


@BOTH
def test_what_replicas_log_reaches_the_log_of_their_pod(directory: str) -> None:
    """A sidecar of the same image reads the files that Ray writes, until after Ray has stopped."""
    service = RayService(rendered(directory))
    (logs,) = service.worker_pod["initContainers"]
    assert logs["command"] == ["serve-app", "pod", str(pod.logs.name)]
    assert logs["image"] == service.worker_container["image"]
    # Any other container would get SIGTERM together with Ray's.
    assert logs["restartPolicy"] == "Always"
    assert logs["resources"]["requests"]["memory"] == logs["resources"]["limits"]["memory"]
    (mount,) = logs["volumeMounts"]
    assert mount["name"] in {each["name"] for each in service.worker_container["volumeMounts"]}
    assert SESSION_LOGS.is_relative_to(mount["mountPath"])


@BOTH
def test_spans_name_their_pod(directory: str) -> None:
    """Each variable is set before the one that contains it: Kubernetes expands no later one."""
    service = RayService(rendered(directory))
    for container in (service.head_container, service.worker_container):
        names = [variable["name"] for variable in container["env"]]
        variables = {variable["name"]: variable for variable in container["env"]}
        value = variables["OTEL_RESOURCE_ATTRIBUTES"]["value"]
        assert dict(pair.split("=") for pair in value.split(",")) == {
            "service.version": "$(SERVICE_VERSION)",
            "k8s.pod.name": "$(POD_NAME)",
            "k8s.namespace.name": "$(POD_NAMESPACE)",
            "k8s.container.name": container["name"],
        }
        for name in re.findall(r"\$\((\w+)\)", value):
            assert names.index(name) < names.index("OTEL_RESOURCE_ATTRIBUTES")
        fields = [
            variables[name]["valueFrom"]["fieldRef"]["fieldPath"]
            for name in ("POD_NAME", "POD_NAMESPACE")
        ]
        assert fields == ["metadata.name", "metadata.namespace"]


@BOTH
def test_haproxy_knows_the_limits_of_the_serve_config(directory: str) -> None:
    """Serve answers 408 first; each variable is there once, because the last of two would win."""
    service = RayService(rendered(directory))
    timeout = service.serve_config["http_options"]["request_timeout_s"]
    limits = [service.deployment[f"max_{each}_requests"] for each in ("ongoing", "queued")]
    for container in (service.head_container, service.worker_container):
        names = [variable["name"] for variable in container["env"]]
        assert len(names) == len(set(names))
        variables = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert float(variables[SERVER_TIMEOUT]) > timeout
        assert int(variables[REQUESTS_PER_REPLICA]) == sum(limits)


def test_a_release_tells_revision_and_project(tmp_path: Path) -> None:
    """Spans carry the version; log lines and printed fixes the project that the image is in."""
    image = f"europe-west1-docker.pkg.dev/my-project/serve-app/serve-app@sha256:{'1' * 64}"
    service = RayService(rendered_release(release(image, "abc123"), tmp_path))
    for container in (service.head_container, service.worker_container):
        assert container["image"] == image
        variables = {each["name"]: each.get("value") for each in container["env"]}
        assert variables["SERVICE_VERSION"] == "abc123"
        assert variables["GOOGLE_CLOUD_PROJECT"] == "my-project"


def test_an_image_elsewhere_names_no_project(tmp_path: Path) -> None:
    """Then Google's libraries ask the metadata server."""
    service = RayService(rendered("overlays/gke"))
    names = {variable["name"] for variable in service.worker_container["env"]}
    assert "GOOGLE_CLOUD_PROJECT" not in names


@BOTH
def test_everything_is_in_the_namespace(directory: str) -> None:
    """No document needs rights outside the namespace."""
    namespaces = {document["metadata"].get("namespace") for document in rendered(directory)}
    assert namespaces == {NAMESPACE}


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
def test_memory_is_guaranteed(directory: str) -> None:
    """Requested and limited memory are the same, so that no neighbour's growth evicts a pod."""
    service = RayService(rendered(directory))
    for container in (service.head_container, service.worker_container):
        resources = container["resources"]
        assert resources["requests"]["memory"] == resources["limits"]["memory"]


@BOTH
def test_the_object_store_is_the_launchers(directory: str) -> None:
    """Ray takes the same memory for objects as on one machine, not 30 % of the pod."""
    service = RayService(rendered(directory))
    for group in (service.head, service.workers):
        assert group["rayStartParams"]["object-store-memory"] == str(OBJECT_STORE_BYTES)


@BOTH
def test_the_heads_address_outlives_its_pod(directory: str) -> None:
    """Its Service has one of its own, and leads to a new head before that is ready."""
    spec = RayService(rendered(directory)).head["headService"]["spec"]
    assert spec == {"publishNotReadyAddresses": True}  # with a clusterIP, which may be None, absent


@BOTH
def test_a_raylet_waits_for_no_agent(directory: str) -> None:
    """The agents' ports are known before they start, and are no ports of Ray's workers."""
    service = RayService(rendered(directory))
    for group in (service.head, service.workers):
        names = ("dashboard-agent-grpc-port", "runtime-env-agent-port")
        ports = {int(group["rayStartParams"][name]) for name in names}
        # The HTTP port of the dashboard's agent has a default; KubeRay names the metrics' port.
        assert len(ports | {DEFAULT_DASHBOARD_AGENT_LISTEN_PORT}) == 3
        assert not ports & set(RAY_WORKER_PORTS)


@BOTH
def test_the_budget_lets_one_worker_leave(directory: str) -> None:
    """A RayCluster has no scale subresource, which maxUnavailable would need."""
    documents = rendered(directory)
    least = RayService(documents).workers["minReplicas"]
    budget = one(documents, "PodDisruptionBudget", "classifier-workers")["spec"]["minAvailable"]
    assert 1 <= budget <= least
    assert least - budget <= 1


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


def test_scraped_ports_exist() -> None:
    """The monitoring names ports of the head, and the one that KubeRay adds to every Ray node."""
    documents = rendered("overlays/gke")
    service = RayService(documents)
    names = {port["name"] for port in service.head_container["ports"]} | {"metrics"}
    endpoints = one(documents, "PodMonitoring", "ray-nodes")["spec"]["endpoints"]
    assert {endpoint["port"] for endpoint in endpoints} <= names


@pytest.mark.parametrize("component", OPTIONAL)
def test_a_component_changes_no_image(component: str, tmp_path: Path) -> None:
    """Optional parts leave the image of head and workers alone."""
    service = RayService(rendered_with(component, tmp_path))
    assert service.worker_container["image"] == NO_IMAGE


def test_every_part_has_a_readme() -> None:
    """Each overlay and component says what it adds and why."""
    root = Path(__file__).parents[2] / "kuberay"
    for kustomization in root.glob("**/kustomization.yaml"):
        if kustomization.parent.name != "release":
            assert (kustomization.parent / "README.md").is_file(), kustomization.parent
