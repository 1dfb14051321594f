"""A Ray and a Ray Serve on this machine that belong to this process, from start to drain."""

import logging
import time

import psutil

from serve_app.errors import UserError
from serve_app.ray_internals import start_serve
from serve_app.runtime.haproxy import proxies_of, soft_stop
from serve_app.runtime.processes import kill_left
from serve_app.runtime.signals import StopRequest
from serve_app.serve_config import ServeConfig

START_SECONDS = 120.0
POLL_SECONDS = 0.1
LEFTOVER_SECONDS = 2.0
OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""Serve keeps no objects there; Ray's default would take 30 % of the machine's memory for it."""


class LaunchError(UserError):
    """The service cannot start: names the problem and the fix."""


class Progress:
    """Prints what a command is doing, with the seconds since its start."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one line at once."""
        print(f"[{time.monotonic() - self._started:5.1f} s] {text}", flush=True)


class LocalService:
    """A Ray and a Ray Serve on this machine."""

    def __init__(self, config: ServeConfig, *, dashboard: bool, progress: Progress) -> None:
        self._config = config
        self._dashboard = dashboard
        self._progress = progress
        self._node_id: str | None = None

    def start(self) -> str | None:
        """Start Ray and deploy the config; returns the address of the dashboard, if any.

        Raises:
            ConfigError: Ray Serve does not accept the config.
        """
        self._progress("starting Ray")
        import ray

        schema = self._config.validated()
        context = ray.init(
            address="local",
            namespace="serve",
            include_dashboard=self._dashboard,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level=logging.WARNING,
        )
        self._node_id = context.address_info["node_id"]
        self._progress("starting Ray Serve")
        start_serve(schema)
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
            # Serve's own shutdown kills the proxy together with its requests.
            soft_stop(self._proxies, self._config.request_timeout_s)
            if ray.is_initialized():
                serve.shutdown()
                ray.shutdown()
        finally:
            # The dashboard's processes notice only after seconds that Ray has ended. HAProxy does
            # not notice at all when its manager is killed.
            kill_left({*started, *self._proxies()}, LEFTOVER_SECONDS)

    def _proxies(self) -> list[psutil.Process]:
        return proxies_of(self._node_id) if self._node_id else []
