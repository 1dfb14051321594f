"""A Ray and a Ray Serve on this machine that belong to this process, from start to drain."""

import http.client
import os
import re
import threading
import time
from collections.abc import Iterator

import psutil

from serve_app.errors import UserError, excerpt
from serve_app.model.artifact import Artifact, ArtifactError
from serve_app.ray_internals.haproxy import HEALTH_PATH
from serve_app.ray_internals.serving import ApplicationStatus, application_status, start_serve
from serve_app.ray_internals.start import follow_logs, start_dashboard, start_ray
from serve_app.runtime.haproxy import proxies_of, soft_stop
from serve_app.runtime.ports import LOOPBACK, user_of
from serve_app.runtime.processes import kill_left
from serve_app.runtime.signals import StopRequest
from serve_app.serve_config import ServeConfig

START_SECONDS = 120.0
POLL_SECONDS = 0.1
STATUS_SECONDS = 2.0
"""Between two looks at the application, and the longest wait for the controller's answer."""
LEFTOVER_SECONDS = 2.0
OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""Serve keeps no objects there; Ray's default would take 30 % of the machine's memory for it."""


LOGS_HINT = "more is in ray/session_latest/logs below RAY_TMPDIR, which is /tmp by default"
REFUSED_PORT = re.compile(r"\bbind\b.*:(\d+)\W*$")
"""What HAProxy and Serve say of a port on which they cannot listen."""
RUNNING = "RUNNING"
FAILED = "DEPLOY_FAILED"


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
    """A Ray and a Ray Serve on this machine.

    Args:
        config: what to deploy.
        host: address at which HAProxy answers.
        request_seconds: longest time that a request may take.
        progress: prints what is done.
    """

    def __init__(
        self,
        config: ServeConfig,
        *,
        host: str,
        request_seconds: float,
        progress: Progress,
    ) -> None:
        self._config = config
        self._host = host
        self._request_seconds = request_seconds
        self._progress = progress
        self._node_id: str | None = None
        self._is_stopping = threading.Event()
        self._logs_end = threading.Event()
        self._logs: threading.Thread | None = None

    def start(self) -> None:
        """Start Ray and deploy the config.

        Raises:
            ConfigError: Ray Serve does not accept the config.
            LaunchError: Ray or Ray Serve does not start.
        """
        self._progress("starting Ray")
        schema = self._config.validated()
        try:
            self._node_id = start_ray(
                LOOPBACK, object_store_bytes=OBJECT_STORE_BYTES, seconds=START_SECONDS
            )
        except Exception as error:
            raise LaunchError(f"Ray does not start: {_cause(error)}") from error
        # Not before: the launcher forks, and Python 3.13 starts no thread that was made by then.
        self._logs = threading.Thread(target=self._follow_logs, name="logs", daemon=True)
        self._logs.start()
        self._progress("starting Ray Serve and the replicas")
        try:
            start_serve(schema, START_SECONDS)
        except Exception as error:
            raise LaunchError(f"Ray Serve does not start: {_cause(error)}") from error

    def wait_until_running(self, stop: StopRequest) -> None:
        """Wait until HAProxy has a replica that answers, or for ``stop``.

        Raises:
            LaunchError: the application fails to deploy, or takes longer than `START_SECONDS`.
        """
        deadline = time.monotonic() + START_SECONDS
        while not stop.wait(POLL_SECONDS):
            found = application_status(START_SECONDS)
            if found is not None and found.status == RUNNING and self._is_healthy():
                return
            if found is not None and found.status == FAILED:
                raise LaunchError("the application did not start: " + "\n".join(found.reasons))
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"no replica is ready after {START_SECONDS:.0f} s; see its log above, or give "
                    "the machine more CPU"
                )

    def _follow_logs(self) -> None:
        try:
            follow_logs(self._logs_end)
        except Exception as error:
            if not self._is_stopping.is_set():
                self._progress(f"what replicas log is in Ray's files only: {_cause(error)}")

    def start_dashboard(self) -> None:
        """Start Ray's dashboard, and print its address once it answers.

        It takes as much processor time as everything else, so it comes after the first answers.
        """
        # Beside `watch`, because a stop must not wait for it.
        threading.Thread(target=self._run_dashboard, name="dashboard", daemon=True).start()

    def _run_dashboard(self) -> None:
        try:
            url = start_dashboard()
        except Exception as error:
            if not self._is_stopping.is_set():
                self._progress(f"the dashboard does not start: {_cause(error)}")
            return
        token = os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")
        self._progress(f"dashboard  {url}  (asks for the token in {token})")
        # It ends with this thread; see `start_dashboard`.
        self._is_stopping.wait()

    def watch(self, stop: StopRequest) -> None:
        """Print when the application is not whole, why, and when it is again; until ``stop``."""
        last = RUNNING
        while not stop.wait(STATUS_SECONDS):
            found = application_status(STATUS_SECONDS)
            # Without an answer the controller restarts; the supervisor says so.
            if found is not None and found.status != last:
                self._progress(self._news(found))
                last = found.status

    def stop(self) -> None:
        """Answer what was accepted, then stop every process."""
        import ray
        from ray import serve

        started = psutil.Process().children(recursive=True)
        self._is_stopping.set()
        try:
            # Serve's own shutdown kills the proxy together with its requests.
            soft_stop(self._proxies, self._request_seconds)
            if ray.is_initialized():
                serve.shutdown()
                self._end_logs()
                ray.shutdown()
        finally:
            # The dashboard's processes notice only after seconds that Ray has ended. HAProxy does
            # not notice at all when its manager is killed.
            kill_left({*started, *self._proxies()}, LEFTOVER_SECONDS)

    def _end_logs(self) -> None:
        """What is logged after this stays in Ray's files."""
        self._logs_end.set()
        if self._logs is not None:
            self._logs.join(LEFTOVER_SECONDS)

    def _is_healthy(self) -> bool:
        """Whether HAProxy has a replica that answers; Serve knows of a replica before HAProxy."""
        connection = http.client.HTTPConnection(self._host, self._config.port, timeout=1)
        try:
            connection.request("GET", HEALTH_PATH)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _news(self, found: ApplicationStatus) -> str:
        if found.status == RUNNING:
            return "the application is RUNNING again"
        reasons = [*self._objections(), *map(excerpt, found.reasons)]
        return ": ".join([f"the application is {found.status}", *reasons])

    def _objections(self) -> Iterator[str]:
        """What a replica that starts now would object to; Serve's own words do not say it."""
        settings = self._config.settings
        try:
            Artifact.open(settings.model_dir, pinned_version=settings.model_version)
        except ArtifactError as error:
            yield f"model refused: {error}"

    def _proxies(self) -> list[psutil.Process]:
        return proxies_of(self._node_id) if self._node_id else []


def _cause(error: Exception) -> str:
    """The line that says why, of an exception that may carry a whole traceback, and the fix."""
    found = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(found).splitlines() if line.strip()]
    alerts = [line for line in lines if "[ALERT]" in line]
    line = (alerts or lines[-1:] or [type(found).__name__])[0]
    refused = REFUSED_PORT.search(line)
    if refused and (user := user_of(int(refused[1]))):
        # It was free when it was checked.
        return f"port {refused[1]} is in use by {user}; stop it, and start again"
    return f"{line}; {LOGS_HINT}"
