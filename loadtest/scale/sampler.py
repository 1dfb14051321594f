"""Takes one snapshot each second from Locust, Serve, Ray and Kubernetes."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from loadtest.driver.results import Moment
from loadtest.scale.dashboard import Dashboard
from loadtest.scale.pods import Pods
from loadtest.scale.samples import Snapshot, WorkerNodes
from serve_app.errors import UserError

SNAPSHOT_SECONDS = 1.0
LOCUST_SILENT_SECONDS = 3.0
"""Locust writes every second; after this, its load is over."""


class Sampler:
    """Takes snapshots; what a source does not answer is None in the snapshot.

    ``user_rate`` is the requests per second of each user, None if users wait for their answers.
    Worker nodes are counted by the dashboard unless ``pods`` are given.
    """

    def __init__(
        self,
        dashboard: Dashboard,
        latest: Callable[[], Moment | None],
        user_rate: float | None,
        pods: Pods | None,
    ) -> None:
        self._dashboard = dashboard
        self._latest = latest
        self._user_rate = user_rate
        self._pods = pods
        self._started = time.monotonic()
        self._last: tuple[float, Moment | None] = (0.0, None)
        self._rps = 0.0

    def take(self) -> Snapshot:
        """Ask every source once."""
        snapshot = self._ask_locust(Snapshot(round(time.monotonic() - self._started, 2)))
        try:
            deployment = self._dashboard.deployment()
        except UserError:
            return snapshot
        snapshot = replace(
            snapshot,
            replicas_desired=deployment.desired_replicas,
            replicas_running=len(deployment.running),
        )
        with contextlib.suppress(UserError):
            nodes = self._count_nodes(deployment.desired_replicas)
            snapshot = replace(
                snapshot,
                nodes_desired=nodes.desired,
                nodes_running=nodes.running,
                machines=nodes.machines,
            )
        with contextlib.suppress(UserError):
            snapshot = replace(snapshot, utilisation=self._dashboard.utilisation(deployment))
        with contextlib.suppress(UserError):
            snapshot = replace(snapshot, ongoing=self._dashboard.ongoing_requests())
        return snapshot

    def _count_nodes(self, desired_replicas: int) -> WorkerNodes:
        if self._pods is not None:
            return self._pods.nodes()
        nodes = self._dashboard.nodes()
        # For some seconds Ray counts a node that joins as running and as pending. There are never
        # more desired nodes than desired replicas.
        return nodes._replace(desired=max(nodes.running, min(nodes.desired, desired_replicas)))

    def _ask_locust(self, snapshot: Snapshot) -> Snapshot:
        moment = self._latest()
        if moment is None:
            return snapshot
        before_seconds, before = self._last
        if before is None or moment.timestamp > before.timestamp:
            answered = moment.requests - (before.requests if before else 0)
            elapsed = moment.timestamp - before.timestamp if before else snapshot.seconds
            self._rps = answered / max(elapsed, 1.0)
            self._last = (snapshot.seconds, moment)
        elif snapshot.seconds - before_seconds > LOCUST_SILENT_SECONDS:
            return replace(snapshot, requests=moment.requests, failures=moment.failures)
        return replace(
            snapshot,
            users=moment.users,
            offered_rps=None if self._user_rate is None else moment.users * self._user_rate,
            rps=self._rps,
            requests=moment.requests,
            failures=moment.failures,
            p50_ms=moment.p50_ms,
            p95_ms=moment.p95_ms,
            p99_ms=moment.p99_ms,
        )


def every_second(take: Callable[[], Snapshot]) -> Iterator[Snapshot]:
    """What ``take`` returns at each full second from now on."""
    due = time.monotonic()
    while True:
        yield take()
        due = max(due + SNAPSHOT_SECONDS, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0))
