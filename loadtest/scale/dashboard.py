"""What Ray and Ray Serve say about themselves, through the dashboard's HTTP interface."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from loadtest.scale.ray_answers import (
    Application,
    Nodes,
    Replicas,
    count_running,
    count_wanted,
    read_applications,
    read_metric,
    read_processes,
    read_replicas,
    read_status,
    read_targets,
)

Read = TypeVar("Read")

SERVE = "/api/serve/applications/"
TIMEOUT_SECONDS = 10.0
DEPLOY_SECONDS = 180.0
METRICS_TIMEOUT_SECONDS = 2.0
MAX_UNREACHABLE = 3
"""So many time-outs mean that the cluster's nodes cannot be reached from here."""
QUOTED = 200
"""Characters of an unexpected answer that are shown."""
ONGOING_METRIC = "ray_serve_autoscaling_total_requests"
"""Requests queued or running, as Serve's autoscaler counts them."""


class DashboardError(Exception):
    """The dashboard does not answer as it should: names the address, the problem and the fix."""


def find_token(environment: Mapping[str, str], token_file: Path | None = None) -> str | None:
    """The dashboard's token, from where Ray itself would take it.

    Raises:
        DashboardError: ``token_file`` cannot be read.
    """
    if token_file is None and environment.get("RAY_AUTH_TOKEN"):
        return environment["RAY_AUTH_TOKEN"]
    default = environment.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
    path = token_file or Path(default).expanduser()
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        if token_file is None:
            return None
        raise DashboardError(f"the token file {path} cannot be read: {error.strerror}") from error


class Dashboard:
    """A client of one dashboard; a context manager that closes its connections."""

    def __init__(self, url: str, *, token: str | None, watched: Application) -> None:
        self.url = url.rstrip("/")
        self._watched = watched
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT_SECONDS)
        self._metrics_target: str | None = None
        self._unreachable = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def deploy(self, config: Mapping[str, Any]) -> None:
        """Make ``config`` the cluster's Serve config; returns before it is running."""
        self._request("PUT", SERVE, json=dict(config), timeout=DEPLOY_SECONDS)

    def is_served(self) -> bool:
        """Whether the watched application is there, in whatever state."""
        return self._watched.application in self._ask(SERVE, read_applications)

    def replicas(self) -> Replicas:
        """Replicas of the watched deployment.

        Raises:
            DashboardError: no answer, or the cluster serves something else.
        """
        return self._ask(SERVE, self._read_replicas)

    def nodes(self) -> Nodes:
        """Worker nodes of the cluster."""
        running = self._ask("/api/v0/nodes", count_running)
        status = self._ask("/api/cluster_status?format=1", read_status)
        return Nodes(wanted=max(count_wanted(status), running), running=running)

    def utilisation(self, replicas: Replicas) -> float | None:
        """Mean CPU utilisation of the running replicas' processes; 1 is a whole CPU."""
        found: list[float] = []
        for node in {node for node, _ in replicas.running}:
            processes = self._ask(f"/nodes/{node}", read_processes)
            found += [cpu for pid, cpu in processes.items() if (node, pid) in replicas.running]
        return sum(found) / len(found) if found else None

    def ongoing_requests(self) -> float | None:
        """Requests that the autoscaler sees; None if Ray's metrics cannot be reached from here."""
        if self._metrics_target is not None:
            return self._read_ongoing(self._metrics_target)
        if self._unreachable >= MAX_UNREACHABLE:
            return None
        for target in self._ask("/api/prometheus/sd", read_targets):
            value = self._read_ongoing(target)
            if value is not None:
                self._metrics_target = target
                return value
            if self._unreachable >= MAX_UNREACHABLE:
                return None
        return None

    def _read_replicas(self, answer: Any) -> Replicas:
        applications = read_applications(answer)
        if self._watched.application not in applications:
            raise DashboardError(
                f"{self.url}: no application {self._watched.application!r} is served there (but "
                f"{', '.join(applications) or 'none'}); check the address"
            )
        application = applications[self._watched.application]
        return read_replicas(application, self._watched.deployment)

    def _read_ongoing(self, target: str) -> float | None:
        try:
            text = httpx.get(f"http://{target}/metrics", timeout=METRICS_TIMEOUT_SECONDS).text
            return read_metric(text, ONGOING_METRIC, self._watched.deployment)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            self._unreachable += 1
            return None

    def _ask(self, path: str, read: Callable[[Any], Read]) -> Read:
        response = self._request("GET", path)
        try:
            return read(response.json())
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise DashboardError(
                f"{self.url}{path} answered what Ray does not answer: "
                f"{in_one_line(response.text) or 'nothing'}; is this a Ray dashboard?"
            ) from error

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._client.request(method, f"{self.url}{path}", **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DashboardError(
                f"{self.url} cannot be reached ({str(error) or type(error).__name__}); check the "
                "address, and that the dashboard or its port-forward runs"
            ) from error
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise DashboardError(
                f"{self.url} wants a token, and the right one; set RAY_AUTH_TOKEN or --token-file"
            )
        if response.is_error:
            raise DashboardError(
                f"{self.url}{path} answered {response.status_code}: "
                f"{in_one_line(response.text)}; is this a Ray dashboard?"
            )
        return response


def in_one_line(body: str) -> str:
    """The beginning of what somebody said, fit for an error message."""
    return " ".join(body[:QUOTED].split())
