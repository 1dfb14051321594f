"""A Ray and a Ray Serve of their own on this machine, from start to drain."""

import logging
import math
import signal
import time
from typing import Any

import psutil
from pydantic import ValidationError

from serve_app.ingress import ingresses_of, soft_stop_ingress

START_SECONDS = 120.0
POLL_SECONDS = 0.1
LEFTOVER_SECONDS = 2.0
OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""Serve keeps no objects there; Ray's default would take 30 % of the machine's memory for it."""


class LaunchError(Exception):
    """The service cannot start: names the problem and the fix."""


class Progress:
    """Prints what is being waited for, with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one line at once."""
        print(f"[{time.monotonic() - self._started:5.1f} s] {text}", flush=True)


class StopRequest:
    """Set by signal handlers, whatever they interrupt."""

    def __init__(self) -> None:
        self._requested = False

    def set(self) -> None:
        """Ask to stop."""
        self._requested = True

    def wait(self, seconds: float = math.inf) -> bool:
        """Wait until asked, at most ``seconds``; True if asked."""
        deadline = time.monotonic() + seconds
        # Python runs signal handlers in the main thread only, but a signal need not wake that one:
        # sleeping without an end, it would never ask.
        while not self._requested and (rest := deadline - time.monotonic()) > 0:
            time.sleep(min(POLL_SECONDS, rest))
        return self._requested


def stop_on_signals(stop: StopRequest) -> None:
    """Let Ctrl-C and SIGTERM ask to stop, in place of whatever they did."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())


class LocalService:
    """A Ray and a Ray Serve of their own, on this machine."""

    def __init__(self, config: dict[str, Any], *, dashboard: bool, progress: Progress) -> None:
        self._config = config
        self._dashboard = dashboard
        self._progress = progress
        self._node_id: str | None = None

    def start(self) -> str | None:
        """Start Ray and deploy the config; returns the address of the dashboard, if any.

        Raises:
            LaunchError: the config is none that Ray Serve knows.
        """
        self._progress("starting Ray")
        import ray
        from ray.serve._private.api import serve_start
        from ray.serve.config import gRPCOptions
        from ray.serve.schema import ServeDeploySchema

        try:
            schema = ServeDeploySchema.model_validate(self._config)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise LaunchError(f"Serve config, {field}: {first['msg']}") from error
        context = ray.init(
            address="local",
            namespace="serve",
            include_dashboard=self._dashboard,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level=logging.WARNING,
        )
        self._node_id = context.address_info["node_id"]
        self._progress("starting Ray Serve")
        client = serve_start(
            http_options=schema.http_options.model_dump(),
            proxy_location=schema.proxy_location,
            grpc_options=gRPCOptions(**schema.grpc_options.model_dump()),
        )
        client.deploy_apps(schema, _blocking=False)
        self._progress("starting the replicas")
        return f"http://{context.dashboard_url}" if self._dashboard else None

    def wait_until_running(self, stop: StopRequest) -> None:
        """Wait for the application, or for ``stop``.

        Raises:
            LaunchError: the application fails to deploy, or takes longer than `START_SECONDS`.
        """
        from ray import serve

        deadline = time.monotonic() + START_SECONDS
        while not stop.wait(POLL_SECONDS):
            (application,) = serve.status().applications.values()
            if application.status.value == "RUNNING":
                return
            if application.status.value == "DEPLOY_FAILED":
                deployments = application.deployments.values()
                messages = [application.message, *(found.message for found in deployments)]
                raise LaunchError("the application did not start: " + "\n".join(messages))
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"no replica is ready after {START_SECONDS:.0f} s; see its log above, or give "
                    "the machine more CPU"
                )

    def stop(self) -> None:
        """Answer what was accepted, then stop every process."""
        import ray
        from ray import serve

        started = psutil.Process().children(recursive=True)
        try:
            # Serve's own shutdown kills the ingress with the requests in it.
            longest_request = self._config["http_options"].get("request_timeout_s")
            soft_stop_ingress(self._ingresses, longest_request)
            if ray.is_initialized():
                serve.shutdown()
                ray.shutdown()
        finally:
            # The dashboard's own processes notice only after seconds that it is gone, and HAProxy
            # does not notice at all when the one that started it is killed.
            left = {*started, *self._ingresses()}
            _, alive = psutil.wait_procs(left, timeout=LEFTOVER_SECONDS)
            for process in alive:
                process.kill()
            psutil.wait_procs(alive)

    def _ingresses(self) -> list[psutil.Process]:
        return ingresses_of(self._node_id) if self._node_id else []
