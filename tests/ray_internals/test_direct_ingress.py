"""A replica's books, against the installed Ray's own classes."""

import asyncio
import logging
from collections import defaultdict, deque
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private import replica as ray_replica
from ray.serve._private.common import DeploymentID, RequestProtocol
from ray.serve._private.config import DeploymentConfig
from ray.serve._private.constants import SERVE_LOGGER_NAME
from ray.serve._private.http_util import _apply_middlewares
from ray.serve._private.replica import Replica, ReplicaMetricsManager
from ray.serve._private.request_ingress_metrics import RequestIngressMetrics
from ray.serve._private.utils import Semaphore
from ray.serve.config import HTTPOptions, gRPCOptions
from ray.serve.schema import LoggingConfig
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from serve_app.http.refusals import LetRefusalsArrive
from serve_app.ray_internals.direct_ingress import MOST_LATENCIES, GrpcBooks, ReplicaBooks
from tests.ray_internals.installed import source

LIMIT = 2


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A replica of Serve's, without what needs a running Ray."""
    monkeypatch.setattr(ray_replica, "RAY_SERVE_ENABLE_DIRECT_INGRESS", True)
    monkeypatch.setattr(ray_replica, "RAY_SERVE_HAPROXY_METRICS_ENABLED", False)
    made: Any = Replica.__new__(Replica)
    made._deployment_config = DeploymentConfig(
        max_ongoing_requests=LIMIT, logging_config={"enable_access_log": False}
    )
    made._deployment_id = DeploymentID(name="Classifier", app_name="classifier")
    made._reserved_slots = set()
    made._semaphore = Semaphore(lambda: made.max_ongoing_requests)
    made._route_prefix = "/iris"
    made._http_options = HTTPOptions(request_timeout_s=7)
    made._user_callable_wrapper = SimpleNamespace(user_callable="the classifier")
    metrics: Any = ReplicaMetricsManager.__new__(ReplicaMetricsManager)
    made._metrics_manager = metrics
    metrics._ingress = True
    metrics._num_ongoing_requests = 0
    metrics._cached_metrics_enabled = True
    metrics._ingress_metrics = {RequestProtocol.HTTP: None, RequestProtocol.GRPC: None}
    metrics._ingress_ongoing_requests = dict.fromkeys(metrics._ingress_metrics, 0)
    metrics._user_code_time_accumulator = ray_replica.RollingWindowAccumulator(
        window_duration_s=60, num_buckets=6
    )
    metrics._max_processing_latency_trackers = defaultdict(
        lambda: ray_replica.RollingWindowMax(window_duration_s=60, num_buckets=6)
    )
    metrics._cached_request_counter = defaultdict(int)
    metrics._cached_latencies = defaultdict(deque)
    by_protocol: Any = lambda: defaultdict(lambda: defaultdict(int))  # noqa: E731
    metrics._cached_ingress_request_counter = by_protocol()
    metrics._cached_ingress_request_error_counter = by_protocol()
    metrics._cached_deployment_request_error_counter = by_protocol()
    metrics._cached_ingress_processing_latencies = defaultdict(lambda: defaultdict(deque))
    return made


@pytest.fixture
def books(replica: Any) -> ReplicaBooks:
    """Its books."""
    return ReplicaBooks(replica)


def test_every_attribute_is_rays_own() -> None:
    """What the fixture sets by hand, Ray sets with the same names and types."""
    text = source("serve/_private/replica.py")
    for line in (
        "self._semaphore = Semaphore(lambda: self.max_ongoing_requests)",
        "self._metrics_manager = create_replica_metrics_manager(",
        "self._route_prefix = route_prefix",
        "self._deployment_config = deployment_config",
        "self._cached_metrics_enabled = RAY_SERVE_METRICS_EXPORT_INTERVAL_MS != 0",
        "self._user_code_time_accumulator = RollingWindowAccumulator(",
        "self._cached_request_counter: DefaultDict[str, int] = defaultdict(int)",
        "self._cached_latencies: DefaultDict[str, Deque[float]] = defaultdict(deque)",
        "self._cached_latencies[route].append(latency_ms)",
        "self._cached_request_counter[route] += 1",
        "self._user_code_time_accumulator.add(latency_ms)",
        "self._max_processing_latency_trackers[route].add(latency_ms)",
        'status_code.startswith(("4", "5"))',
    ):
        assert line in text
    acquire = source("serve/_private/utils.py")
    assert "if not self.locked():\n            self._value += 1\n            return True" in acquire


def test_they_are_found_behind_the_middlewares(replica: Any) -> None:
    """Ray's own and ours, as Ray nests them; nowhere else."""
    app = _apply_middlewares(replica._direct_ingress_asgi, [Middleware(LetRefusalsArrive)])
    books = ReplicaBooks.behind(app)
    assert books is not None
    assert books.servable == "the classifier"

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    assert ReplicaBooks.behind(_apply_middlewares(proxy, [Middleware(LetRefusalsArrive)])) is None


def test_a_replica_that_tells_of_every_request_has_none(replica: Any) -> None:
    """Its metrics have no caches to enter requests in."""
    replica._metrics_manager._cached_metrics_enabled = False
    assert ReplicaBooks.behind(replica._direct_ingress_asgi) is None


def test_its_settings(books: ReplicaBooks) -> None:
    """Where it is mounted, and how long a request may take."""
    assert books.route_prefix == "/iris"
    assert books.timeout_seconds == 7


def test_slots_are_those_of_serves_path(books: ReplicaBooks, replica: Any) -> None:
    """A full replica is full for both; a slot that is given back goes to one that waits."""

    async def go() -> None:
        for taken in range(LIMIT):
            assert not books.is_full
            books.begin()
            assert replica.get_num_ongoing_requests() == taken + 1
        assert books.is_full
        waiting = asyncio.create_task(replica._semaphore.acquire())
        await asyncio.sleep(0)
        assert not waiting.done()
        books.end()
        await asyncio.wait_for(waiting, 1)
        assert replica._semaphore.locked()
        replica._semaphore.release()
        books.end()
        assert not replica._semaphore.locked()
        assert replica.get_num_ongoing_requests() == 0
        assert set(replica._metrics_manager._ingress_ongoing_requests.values()) == {0}

    asyncio.run(go())


@pytest.mark.parametrize("count", [2, MOST_LATENCIES * 3])
def test_counts_are_exact_and_latencies_a_sample(
    books: ReplicaBooks, replica: Any, count: int
) -> None:
    """In the caches that Serve passes to Ray, with the labels that Serve gives."""
    latencies = [float(number) for number in range(1, count + 1)]
    books.enter("POST", 200, latencies)
    books.enter("POST", 422, [1.0])
    metrics = replica._metrics_manager
    assert metrics._cached_request_counter == {"/iris": count + 1}
    shown = list(metrics._cached_latencies["/iris"])
    assert len(shown) == min(count, MOST_LATENCIES) + 1
    assert set(shown) <= set(latencies)
    assert metrics._user_code_time_accumulator.get_total() == sum(latencies) + 1
    assert metrics._max_processing_latency_trackers["/iris"].get_max() == count
    labels = {"route": "/iris", "method": "POST", "application": "classifier"}
    good = frozenset(RequestIngressMetrics.request_tags(**labels, status_code="200").items())
    bad = {**labels, "status_code": "422"}
    counted = metrics._cached_ingress_request_counter[RequestProtocol.HTTP]
    assert counted[good] == count
    assert counted[frozenset(RequestIngressMetrics.request_tags(**bad).items())] == 1
    errors = metrics._cached_ingress_request_error_counter[RequestProtocol.HTTP]
    assert errors == {frozenset(RequestIngressMetrics.request_error_tags(**bad).items()): 1}
    of_deployment = metrics._cached_deployment_request_error_counter[RequestProtocol.HTTP]
    tags = RequestIngressMetrics.deployment_error_tags(**bad, deployment="Classifier")
    assert of_deployment == {frozenset(tags.items()): 1}


def test_serves_own_path_of_grpc_writes_the_same(replica: Any) -> None:
    """One call of each path, with gRPC's names for place and status."""
    books = GrpcBooks(replica)
    path = "/inference.GRPCInferenceService/ModelInfer"
    metrics = replica._metrics_manager
    for status, is_error in (("OK", False), ("INVALID_ARGUMENT", True)):
        books.enter(path, status, [3.0])
        metrics.record_request_metrics(route="classifier", latency_ms=3.0, is_error=False)
        metrics.record_ingress_request_metrics(
            protocol=RequestProtocol.GRPC,
            method=path,
            route="classifier",
            app_name="classifier",
            deployment_name="Classifier",
            latency_ms=3.0,
            is_error=is_error,
            status_code=status,
        )
    assert metrics._cached_request_counter == {"classifier": 4}
    requests = metrics._cached_ingress_request_counter
    assert list(requests[RequestProtocol.GRPC].values()) == [2, 2]
    for name in ("ingress_request_error", "deployment_request_error"):
        counter = getattr(metrics, f"_cached_{name}_counter")
        assert list(counter[RequestProtocol.GRPC].values()) == [2]
    assert set(requests) == {RequestProtocol.GRPC}
    text = source("serve/_private/replica.py")
    assert "is_error = status_code != grpc.StatusCode.OK.name" in text
    assert "timeout_s=grpc_options.request_timeout_s" in text


def test_slots_are_shared_by_both_protocols(replica: Any) -> None:
    """The limit is the replica's; each protocol counts its own, and has its own time-out."""
    http, rpc = ReplicaBooks(replica), GrpcBooks(replica)
    http.begin()
    rpc.begin()
    assert http.is_full
    assert rpc.is_full
    ongoing = replica._metrics_manager._ingress_ongoing_requests
    assert ongoing == {RequestProtocol.HTTP: 1, RequestProtocol.GRPC: 1}
    http.end()
    rpc.end()
    assert set(ongoing.values()) == {0}
    replica._grpc_options = gRPCOptions(request_timeout_s=9)
    assert (http.timeout_seconds, rpc.timeout_seconds) == (7, 9)
    assert rpc.route == "classifier"


def test_serves_own_path_writes_the_same(books: ReplicaBooks, replica: Any) -> None:
    """One request of each path: the caches hold each label twice, and no other."""
    books.enter("POST", 422, [3.0])
    metrics = replica._metrics_manager
    metrics.record_request_metrics(route="/iris", latency_ms=3.0, is_error=False)
    metrics.record_ingress_request_metrics(
        protocol=RequestProtocol.HTTP,
        method="POST",
        route="/iris",
        app_name="classifier",
        deployment_name="Classifier",
        latency_ms=3.0,
        is_error=True,
        status_code="422",
    )
    assert metrics._cached_request_counter == {"/iris": 2}
    assert list(metrics._cached_latencies["/iris"]) == [3.0, 3.0]
    for name in ("ingress_request", "ingress_request_error", "deployment_request_error"):
        counter = getattr(metrics, f"_cached_{name}_counter")
        assert list(counter[RequestProtocol.HTTP].values()) == [2]


def test_haproxy_counts_what_comes_in_where_it_does(
    books: ReplicaBooks, replica: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With RAY_SERVE_HAPROXY_METRICS_ENABLED each request would count twice."""
    monkeypatch.setattr(ray_replica, "RAY_SERVE_ENABLE_HA_PROXY", True)
    monkeypatch.setattr(ray_replica, "RAY_SERVE_HAPROXY_METRICS_ENABLED", True)
    books.enter("POST", 200, [1.0])
    assert not replica._metrics_manager._cached_ingress_request_counter
    assert replica._metrics_manager._cached_request_counter == {"/iris": 1}


@pytest.mark.parametrize(
    ("config", "level", "writes"),
    [
        ({"enable_access_log": False}, logging.INFO, False),
        ({"enable_access_log": True}, logging.INFO, True),
        (None, logging.INFO, True),
        (LoggingConfig(enable_access_log=True), logging.INFO, True),
        (None, logging.WARNING, False),
    ],
)
def test_whether_there_is_an_access_log(
    books: ReplicaBooks, replica: Any, config: Any, level: int, *, writes: bool
) -> None:
    """As the deployment's logging config says, and the level of Serve's logger."""
    logger = logging.getLogger(SERVE_LOGGER_NAME)
    before = logger.level
    logger.setLevel(level)
    try:
        replica._deployment_config = SimpleNamespace(logging_config=config)
        assert books.has_access_log is writes
    finally:
        logger.setLevel(before)
