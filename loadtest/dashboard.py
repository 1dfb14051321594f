"""What Ray and Ray Serve say about themselves, through the dashboard's HTTP interface."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

TIMEOUT_SECONDS = 10.0
DEPLOY_SECONDS = 180.0
METRICS_TIMEOUT_SECONDS = 2.0
MAX_UNREACHABLE = 3
"""So many time-outs mean that the cluster's nodes cannot be reached from here."""
ONGOING_METRIC = "ray_serve_autoscaling_total_requests"
"""Requests queued or running, as Serve's autoscaler counts them."""


class DashboardError(Exception):
    """The dashboard does not answer as it should: names the address, the problem and the fix."""


@dataclass(frozen=True)
class Application:
    """The deployment that is watched."""

    application: str
    deployment: str


@dataclass(frozen=True)
class Replicas:
    """A deployment's replicas at one moment."""

    status: str
    """The application's, such as RUNNING or DEPLOY_FAILED."""
    message: str
    wanted: int
    running: tuple[tuple[str, int], ...]
    """Node and process id of each running replica."""


@dataclass(frozen=True)
class Nodes:
    """Worker nodes at one moment; the head is none."""

    wanted: int
    """Running, or being launched."""
    running: int
    machines: int | None = None
    """Kubernetes nodes that they run on."""


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
        path = "/api/serve/applications/"
        self._request("PUT", path, json=dict(config), timeout=DEPLOY_SECONDS)

    def is_served(self) -> bool:
        """Whether the watched application is there, in whatever state."""
        applications = self._json("/api/serve/applications/")["applications"]
        return self._watched.application in applications

    def replicas(self) -> Replicas:
        """Replicas of the watched deployment.

        Raises:
            DashboardError: no answer, or the cluster serves something else.
        """
        applications = self._json("/api/serve/applications/")["applications"]
        application = applications.get(self._watched.application)
        if application is None:
            raise DashboardError(
                f"{self.url}: no application {self._watched.application!r} is served there (but "
                f"{', '.join(applications) or 'none'}); check the address"
            )
        deployment = application["deployments"].get(self._watched.deployment, {})
        return Replicas(
            status=application["status"],
            message=application["message"],
            wanted=deployment.get("target_num_replicas", 0),
            running=tuple(
                (replica["node_id"], replica["pid"])
                for replica in deployment.get("replicas", [])
                if replica["state"] == "RUNNING"
            ),
        )

    def nodes(self) -> Nodes:
        """Worker nodes of the cluster."""
        nodes = self._json("/api/v0/nodes")["data"]["result"]["result"]
        running = sum(node["state"] == "ALIVE" and not node["is_head_node"] for node in nodes)
        status = self._json("/api/cluster_status?format=1")["data"]["clusterStatus"] or ""
        return Nodes(wanted=max(count_wanted(status), running), running=running)

    def utilisation(self, replicas: Replicas) -> float | None:
        """Mean CPU utilisation of the running replicas' processes; 1 is a whole CPU."""
        found = []
        for node in {node for node, _ in replicas.running}:
            workers = self._json(f"/nodes/{node}")["data"]["detail"].get("workers", [])
            found += [
                worker["cpuPercent"] / 100
                for worker in workers
                if (node, worker["pid"]) in replicas.running
            ]
        return sum(found) / len(found) if found else None

    def ongoing_requests(self) -> float | None:
        """Requests that the autoscaler sees; None if Ray's metrics cannot be reached from here."""
        if self._metrics_target is not None:
            return self._read_ongoing(self._metrics_target)
        if self._unreachable >= MAX_UNREACHABLE:
            return None
        for group in self._json("/api/prometheus/sd"):
            for target in group["targets"]:
                value = self._read_ongoing(target)
                if value is not None:
                    self._metrics_target = target
                    return value
                if self._unreachable >= MAX_UNREACHABLE:
                    return None
        return None

    def _read_ongoing(self, target: str) -> float | None:
        try:
            text = httpx.get(f"http://{target}/metrics", timeout=METRICS_TIMEOUT_SECONDS).text
        except httpx.HTTPError:
            self._unreachable += 1
            return None
        return read_metric(text, ONGOING_METRIC, self._watched.deployment)

    def _json(self, path: str) -> Any:
        try:
            return self._request("GET", path).json()
        except ValueError as error:
            raise DashboardError(
                f"{self.url}{path} answered no JSON; is this a Ray dashboard?"
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
                f"{self.url}{path} answered {response.status_code}: {response.text[:200].strip()}; "
                "is this a Ray dashboard?"
            )
        return response


def count_wanted(status: str) -> int:
    """Worker nodes that are there or on their way, from the text that ``ray status`` shows.

    Nodes that are there are counted by type, as in ``2 worker``, and the head is one of them; nodes
    on their way are counted as in ``worker, 2 launching``, or have a line of their own.
    """
    count = 0
    for section in ("Active", "Idle", "Pending"):
        match = re.search(rf"^{section}:\n((?: .*\n)*)", status, re.MULTILINE)
        for line in match[1].splitlines() if match else []:
            counted = re.search(r"^ (\d+) \S+$|, (\d+) launching$", line)
            if counted:
                count += int(counted[1] or counted[2])
            else:
                count += section == "Pending" and ": " in line
    return max(count - 1, 0)


def read_metric(text: str, name: str, deployment: str) -> float | None:
    """Value of a deployment's gauge in Prometheus text; None if it is not there."""
    for line in text.splitlines():
        if line.startswith(f"{name}{{") and f'deployment="{deployment}"' in line:
            return float(line.rsplit(" ", 1)[1])
    return None
