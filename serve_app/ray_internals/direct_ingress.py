"""What Serve's replica keeps of each request: its limit, its counts, its metrics.

A request that is answered before it reaches Serve is entered here, so that draining, autoscaling,
limits and dashboards see it as any other. Source: ``_direct_ingress_asgi``,
``_prepare_direct_ingress_grpc_request``, ``_start_request``, ``_record_errors_and_metrics`` and
``ReplicaMetricsManager`` in ray/serve/_private/replica.py.
"""

import logging
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from serve_app.ray_internals.request_spans import ServeSpan, http_span, rpc_span

if TYPE_CHECKING:
    from starlette.types import ASGIApp

MOST_LATENCIES = 50
"""Of each entry in the books, drawn at random, in the histograms: Ray's take one call for each
observation, which costs more than a model call. Counts are exact."""


def replica_behind(app: "ASGIApp") -> object:
    """Serve's object of the replica whose HTTP server calls ``app``; another one in a proxy.

    ``app`` is the replica's method within middlewares, as ``_apply_middlewares`` in
    ray/serve/_private/http_util.py nests them.
    """
    while (inner := getattr(app, "_app", None)) is not None:
        app = inner
    return getattr(app, "__self__", None)


def servable_behind(app: "ASGIApp") -> object:
    """The instance of the deployment's class in that replica; None in a proxy."""
    return _servable_of(replica_behind(app))


def _servable_of(replica: object) -> object:
    wrapper = getattr(replica, "_user_callable_wrapper", None)
    return getattr(wrapper, "user_callable", None)


class ReplicaBooks:
    """The books of this process's replica, for requests of one protocol: here of HTTP."""

    protocol: ClassVar[Literal["HTTP", "GRPC"]] = "HTTP"

    def __init__(self, replica: Any) -> None:
        from ray.serve._private.common import RequestMetadata, RequestProtocol

        self._replica = replica
        self._metrics = replica._metrics_manager  # noqa: SLF001
        self._slots = replica._semaphore  # noqa: SLF001
        self._kind = RequestProtocol[self.protocol]
        self._metadata = RequestMetadata(
            request_id="",
            internal_request_id="",
            _request_protocol=self._kind,
            is_direct_ingress=True,
        )

    @classmethod
    def behind(cls, app: "ASGIApp") -> Self | None:
        """Those of the replica whose HTTP server calls ``app``; None if it keeps none."""
        replica: Any = replica_behind(app)
        if getattr(getattr(replica, "_metrics_manager", None), "_cached_metrics_enabled", False):
            return cls(replica)
        return None  # a proxy, or a replica that tells Ray of every single request

    @property
    def servable(self) -> object:
        """The instance of the deployment's class."""
        return _servable_of(self._replica)

    @property
    def route_prefix(self) -> str:
        """Where the application is mounted."""
        return str(self._replica._route_prefix or "/")  # noqa: SLF001

    @property
    def route(self) -> str:
        """What metrics call the place of a request."""
        return self.route_prefix

    def span_of(self, method: str) -> ServeSpan:
        """The span that Serve makes of a request with this HTTP method."""
        return http_span(self._replica, method)

    @property
    def timeout_seconds(self) -> float | None:
        """``request_timeout_s`` of Serve's options for the protocol."""
        timeout: float | None = self._replica._http_options.request_timeout_s  # noqa: SLF001
        return timeout

    @staticmethod
    def is_error(status: str) -> bool:
        """Whether Serve counts an answer with this status as an error."""
        return status.startswith(("4", "5"))

    @property
    def has_access_log(self) -> bool:
        """Whether each request has to be logged."""
        from ray.serve._private.constants import SERVE_LOGGER_NAME
        from ray.serve.schema import LoggingConfig

        config = self._replica._deployment_config.logging_config  # noqa: SLF001
        if isinstance(config, dict) or config is None:
            config = LoggingConfig(**(config or {}))
        is_on = config.enable_access_log is not False
        return is_on and logging.getLogger(SERVE_LOGGER_NAME).isEnabledFor(logging.INFO)

    @property
    def is_full(self) -> bool:
        """Whether ``max_ongoing_requests`` are at work: another one has to wait, or is refused."""
        full: bool = self._slots.locked()
        return full

    def begin(self) -> None:
        """A request takes a slot; only while not `is_full`."""
        self._slots._value += 1  # noqa: SLF001 - as `acquire` does, without a coroutine
        self._metrics.inc_num_ongoing_requests(self._metadata)

    def end(self) -> None:
        """It gives the slot back, to one that waits if there is any."""
        self._metrics.dec_num_ongoing_requests(self._metadata)
        self._slots.release()

    def enter(self, method: str, status: int | str, latencies: Sequence[float]) -> None:
        """Count requests that had one status, in bulk.

        Args:
            method: HTTP method, or gRPC method with its service.
            status: HTTP status, or name of the gRPC status.
            latencies: milliseconds that each took; their number is that of the requests.
        """
        metrics, route = self._metrics, self.route
        shown = latencies
        if len(latencies) > MOST_LATENCIES:
            shown = random.sample(latencies, MOST_LATENCIES)
        metrics._user_code_time_accumulator.add(sum(latencies))  # noqa: SLF001
        metrics._max_processing_latency_trackers[route].add(max(latencies))  # noqa: SLF001
        metrics._cached_request_counter[route] += len(latencies)  # noqa: SLF001
        metrics._cached_latencies[route].extend(shown)  # noqa: SLF001
        if metrics._should_emit_request_ingress_metrics(self._kind):  # noqa: SLF001
            self._enter_ingress(method, str(status), len(latencies), shown)

    def _enter_ingress(
        self, method: str, status: str, count: int, latencies: Sequence[float]
    ) -> None:
        from ray.serve._private.request_ingress_metrics import RequestIngressMetrics

        metrics, deployment = self._metrics, self._replica._deployment_id  # noqa: SLF001
        labels = {
            "route": self.route,
            "method": method,
            "application": deployment.app_name,
            "status_code": status,
        }

        def count_in(counter: Any, tags: dict[str, str]) -> None:
            counter[self._kind][frozenset(tags.items())] += count

        tags = RequestIngressMetrics.request_tags(**labels)
        count_in(metrics._cached_ingress_request_counter, tags)  # noqa: SLF001
        latency = metrics._cached_ingress_processing_latencies[self._kind]  # noqa: SLF001
        latency[frozenset(tags.items())].extend(latencies)
        if self.is_error(status):
            count_in(
                metrics._cached_ingress_request_error_counter,  # noqa: SLF001
                RequestIngressMetrics.request_error_tags(**labels),
            )
            count_in(
                metrics._cached_deployment_request_error_counter,  # noqa: SLF001
                RequestIngressMetrics.deployment_error_tags(**labels, deployment=deployment.name),
            )


class GrpcBooks(ReplicaBooks):
    """Those for requests of gRPC."""

    protocol = "GRPC"

    @property
    def route(self) -> str:
        """The application's name: gRPC has no paths to mount it on."""
        return str(self._replica._deployment_id.app_name)  # noqa: SLF001

    def span_of(self, method: str) -> ServeSpan:
        """The span that Serve makes of a call of this method of the deployment."""
        return rpc_span(self._replica, method)

    @property
    def timeout_seconds(self) -> float | None:
        """``request_timeout_s`` of Serve's options for the protocol."""
        timeout: float | None = self._replica._grpc_options.request_timeout_s  # noqa: SLF001
        return timeout

    @staticmethod
    def is_error(status: str) -> bool:
        """Whether Serve counts an answer with this status as an error."""
        return status != "OK"
