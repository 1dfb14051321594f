"""How pods end: everything that stops waits for what still answers."""

from pathlib import Path

from ray._private.ray_constants import (
    RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S,
)
from ray.serve._private.constants import (
    PROXY_HEALTH_CHECK_PERIOD_S,
    PROXY_HEALTH_CHECK_UNHEALTHY_THRESHOLD,
    PROXY_MIN_DRAINING_PERIOD_S,
)

from deploy.names import (
    PUBLIC_SERVICE,
)
from serve_app.cli import pod
from serve_app.runtime.waits import Waits
from tests.kuberay.manifests import (
    BOTH,
    SERVE_PORT,
    Document,
    RayService,
    one,
    rendered,
    rendered_with,
)


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
    for options in ("http_options", "grpc_options"):
        assert service.serve_config[options]["request_timeout_s"] < policy["timeoutSec"]
    health = one(documents, "HealthCheckPolicy", "classifier")["spec"]
    probe = service.worker_container["readinessProbe"]["httpGet"]
    asked = health["default"]["config"]["httpHealthCheck"]
    assert (asked["requestPath"], asked["port"]) == (probe["path"], SERVE_PORT)
    for kind in ("GCPBackendPolicy", "HealthCheckPolicy"):
        target = one(documents, kind, "classifier")["spec"]["targetRef"]
        assert (target["kind"], target["name"]) == ("Service", PUBLIC_SERVICE)
    *_, rule = one(documents, "HTTPRoute", "classifier")["spec"]["rules"]
    (backend,) = rule["backendRefs"]
    public = one(documents, "Service", PUBLIC_SERVICE)["spec"]
    assert backend == {"name": PUBLIC_SERVICE, "port": public["ports"][0]["port"]}
    assert public["type"] == "ClusterIP"
