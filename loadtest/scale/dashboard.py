"""Ray and Ray Serve on themselves, through the dashboard's HTTP interface."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from loadtest.scale.samples import WorkerNodes
from serve_app.errors import UserError, excerpt
from serve_app.ray_internals import dashboard as answers
from serve_app.ray_internals.dashboard import (
    APPLICATIONS_PATH,
    DeploymentStatus,
    RunningScaling,
)
from serve_app.serve_config import ServeConfig

Read = TypeVar("Read")

TIMEOUT_SECONDS = 10.0
DEPLOY_SECONDS = 180.0
READY_SECONDS = 180.0
POLL_SECONDS = 0.5
METRICS_TIMEOUT_SECONDS = 2.0
MAX_UNREACHABLE = 3
"""After so many time-outs the cluster's nodes count as unreachable from here."""


def find_token(environment: Mapping[str, str], token_file: Path | None = None) -> str | None:
    """The dashboard's token, from where Ray itself would take it.

    Raises:
        UserError: ``token_file`` cannot be read.
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
        raise UserError(f"the token file {path} cannot be read: {error.strerror}") from error


class Dashboard:
    """A client of one dashboard; a context manager that closes its connections.

    Args:
        url: address of the dashboard, without a path.
        config: names the application and the deployment that are watched.
        token: the dashboard's token, if it asks for one.
    """

    def __init__(self, url: str, config: ServeConfig, *, token: str | None) -> None:
        self.url = url.rstrip("/")
        self._application = config.application_name
        self._deployment = config.deployment_name
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT_SECONDS)
        self._metrics_target: str | None = None
        self._unreachable = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def deploy(self, config: Mapping[str, Any]) -> None:
        """Make ``config`` the cluster's Serve config and wait until its application runs.

        Raises:
            UserError: it fails, or does not run after `READY_SECONDS`.
        """
        self._request("PUT", APPLICATIONS_PATH, json=dict(config), timeout=DEPLOY_SECONDS)
        for is_late in _polls():
            found = self.deployment()
            if found.status == "RUNNING":
                return
            if found.status == "DEPLOY_FAILED" or is_late:
                raise UserError(
                    f"the application is {found.status} after {READY_SECONDS:.0f} s at most: "
                    f"{found.message or 'no replica is ready; give the machine more CPU'}"
                )

    def undeploy(self, config: Mapping[str, Any]) -> None:
        """Remove the applications of ``config`` and wait until the watched one has gone.

        Raises:
            UserError: it is still there after `READY_SECONDS`.
        """
        content = {**config, "applications": []}
        self._request("PUT", APPLICATIONS_PATH, json=content, timeout=DEPLOY_SECONDS)
        for is_late in _polls():
            if self._application not in self._ask(APPLICATIONS_PATH, answers.read_applications):
                return
            if is_late:
                raise UserError(
                    f"the last application has not stopped after {READY_SECONDS:.0f} s; give the "
                    "machine more CPU"
                )

    def deployment(self) -> DeploymentStatus:
        """The watched deployment.

        Raises:
            UserError: no answer, or the cluster serves something else.
        """
        return self._ask(APPLICATIONS_PATH, self._read_deployment)

    def scaling(self) -> RunningScaling | None:
        """How the watched deployment scales in this cluster; None if it does not.

        Raises:
            UserError: no answer, or the cluster serves something else.
        """
        return self._ask(
            APPLICATIONS_PATH,
            lambda answer: answers.read_scaling(self._application_in(answer), self._deployment),
        )

    def nodes(self) -> WorkerNodes:
        """Worker nodes of the cluster."""
        running = self._ask(answers.NODES_PATH, answers.count_running_nodes)
        desired = answers.count_desired_nodes(
            self._ask(answers.STATUS_PATH, answers.read_status_text)
        )
        return WorkerNodes(desired=max(desired, running), running=running)

    def utilisation(self, deployment: DeploymentStatus) -> float | None:
        """Mean CPU utilisation of the running replicas' processes; 1 is a whole CPU."""
        found: list[float] = []
        for node in {node for node, _ in deployment.running}:
            processes = self._ask(answers.node_path(node), answers.read_processes)
            found += [cpu for pid, cpu in processes.items() if (node, pid) in deployment.running]
        return sum(found) / len(found) if found else None

    def ongoing_requests(self) -> float | None:
        """Requests that the autoscaler sees; None if Ray's metrics cannot be reached from here."""
        if self._metrics_target is not None:
            return self._read_ongoing(self._metrics_target)
        if self._unreachable < MAX_UNREACHABLE:
            for target in self._ask(answers.METRIC_TARGETS_PATH, answers.read_metric_targets):
                value = self._read_ongoing(target)
                if value is not None:
                    self._metrics_target = target
                    return value
                if self._unreachable >= MAX_UNREACHABLE:
                    break
        return None

    def _read_deployment(self, answer: Any) -> DeploymentStatus:
        return answers.read_deployment(self._application_in(answer), self._deployment)

    def _application_in(self, answer: Any) -> Any:
        applications = answers.read_applications(answer)
        if self._application not in applications:
            raise UserError(
                f"{self.url}: no application {self._application!r} is served there (but "
                f"{', '.join(applications) or 'none'}); check the address"
            )
        return applications[self._application]

    def _read_ongoing(self, target: str) -> float | None:
        try:
            text = httpx.get(f"http://{target}/metrics", timeout=METRICS_TIMEOUT_SECONDS).text
            return answers.read_metric(text, answers.ONGOING_METRIC, self._deployment)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            self._unreachable += 1
            return None

    def _ask(self, path: str, read: Callable[[Any], Read]) -> Read:
        response = self._request("GET", path)
        try:
            return read(response.json())
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self.url}{path} answered what Ray does not answer: "
                f"{excerpt(response.text) or 'nothing'}; is this a Ray dashboard?"
            ) from error

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._client.request(method, f"{self.url}{path}", **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UserError(
                f"{self.url} cannot be reached ({str(error) or type(error).__name__}); check the "
                "address, and that the dashboard or its port-forward runs"
            ) from error
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise UserError(
                f"{self.url} asks for a token, and for the right one; set RAY_AUTH_TOKEN or "
                "--token-file"
            )
        if response.is_error:
            raise UserError(
                f"{self.url}{path} answered {response.status_code}: "
                f"{excerpt(response.text)}; is this a Ray dashboard?"
            )
        return response


def _polls() -> Iterator[bool]:
    """Now, and again and again; true once `READY_SECONDS` are over."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        yield time.monotonic() > deadline
        time.sleep(POLL_SECONDS)
