"""What must agree between the documents of an overlay, the Serve config and the code."""

import math
import re
from pathlib import Path

import pytest
import ray
from grpc_reflection.v1alpha import reflection
from ray._private.ray_constants import (
    DEFAULT_DASHBOARD_AGENT_LISTEN_PORT,
)

from deploy.names import (
    IMAGE,
    NAMESPACE,
    PUBLIC_SERVICE,
)
from deploy.render import NO_IMAGE, release
from serve_app.cli import pod
from serve_app.grpc.names import HEALTH
from serve_app.grpc.rpcs import SERVICE
from serve_app.ray_internals.haproxy import HEALTH_PATH
from serve_app.ray_internals.nodes import SESSION_LOGS
from serve_app.runtime.ingress import REQUESTS_PER_REPLICA
from serve_app.runtime.local_service import OBJECT_STORE_BYTES
from serve_app.runtime.ports import FIXED_PORTS
from serve_app.runtime.request_limits import SERVER_TIMEOUT
from tests.kuberay.manifests import (
    BOTH,
    GRPC_PORT,
    OPTIONAL,
    SERVE_PORT,
    RayService,
    one,
    rendered,
    rendered_release,
    rendered_with,
)

RAY_WORKER_PORTS = range(10002, 20000)
"""Defaults of `ray start`, options --min-worker-port and --max-worker-port."""


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
    assert service.serve_config["grpc_options"]["port"] == GRPC_PORT
    for container in (service.head_container, service.worker_container):
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert (ports["serve"], ports["grpc"]) == (SERVE_PORT, GRPC_PORT)
    probe = service.worker_container["readinessProbe"]["httpGet"]
    assert probe == {"path": HEALTH_PATH, "port": "health"}
    assert ports["health"] == FIXED_PORTS["RAY_SERVE_HAPROXY_METRICS_PORT"]
    public, grpc = one(documents, "Service", PUBLIC_SERVICE)["spec"]["ports"]
    assert (public["targetPort"], grpc["targetPort"]) == ("serve", "grpc")
    assert (grpc["port"], grpc["appProtocol"]) == (GRPC_PORT, "kubernetes.io/h2c")
    policy = one(documents, "NetworkPolicy", "ray-nodes")
    open_to_all = [rule["ports"] for rule in policy["spec"]["ingress"] if "from" not in rule]
    ports_of_all = [{"protocol": "TCP", "port": port} for port in (SERVE_PORT, GRPC_PORT)]
    assert open_to_all == [ports_of_all]
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^EXPOSE (\d+)$", dockerfile, re.MULTILINE) == [
        str(SERVE_PORT),
        str(GRPC_PORT),
    ]
    assert f"or {SERVE_PORT}}}/-/healthz" in dockerfile


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


def test_the_gateway_sends_calls_to_the_port_of_grpc(tmp_path: Path) -> None:
    """By the paths of the service, its health and reflection; all else is HTTP."""
    route = one(rendered_with("gateway", tmp_path), "HTTPRoute", "classifier")
    calls, rest = route["spec"]["rules"]
    paths = {match["path"]["value"] for match in calls["matches"]}
    services = (SERVICE.full_name, HEALTH, reflection.SERVICE_NAME)
    assert paths == {f"/{each}" for each in services}
    assert [each["port"] for each in calls["backendRefs"]] == [GRPC_PORT]
    assert "matches" not in rest


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
