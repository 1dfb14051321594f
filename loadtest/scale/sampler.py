"""Watches a load test: once a second, what Locust, Serve and Ray say, as one sample."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from loadtest.scale.dashboard import Dashboard, DashboardError
from loadtest.driver.results import History, Moment
from loadtest.scale.pods import Pods
from loadtest.scale.ray_answers import Nodes
from loadtest.scale.samples import Sample

SAMPLE_SECONDS = 1.0
LOCUST_STOP_SECONDS = 20.0
LOCUST_SILENT_SECONDS = 3.0
"""Locust writes every second; after this, its load is over."""
LOCUSTFILE = Path(__file__).with_name("locustfile.py")


@dataclass(frozen=True)
class Load:
    """What Locust shall do."""

    host: str
    scenario: str
    users: int
    user_rate: float | None
    """Requests per second of each user; None for users who think."""
    seconds: float
    model_dir: Path
    traceparent_share: float = 0.1

    @property
    def arguments(self) -> list[str]:
        """Command line for Locust."""
        rate = [] if self.user_rate is None else ["--user-rate", str(self.user_rate)]
        return [
            *("-f", str(LOCUSTFILE), "--host", self.host, "--headless", "--only-summary"),
            *("--scenario", self.scenario, "--users", str(self.users), *rate),
            *("--run-time", f"{self.seconds:.0f}s", "--model-dir", str(self.model_dir)),
            *("--traceparent-share", str(self.traceparent_share)),
        ]


class LocustRun:
    """Locust in a process of its own; a context manager that always stops it."""

    def __init__(self, load: Load, directory: Path) -> None:
        prefix = directory / "locust"
        self.history = History(prefix)
        self.log_file = directory / "locust.log"
        raw = ["--csv", str(prefix), "--csv-full-history", "--json-file", str(prefix)]
        self._command = [sys.executable, "-m", "locust", *load.arguments, *raw]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for leftover in self.log_file.parent.glob("locust[._]*"):
            leftover.unlink()  # of an earlier run: its history must not be taken for this one's
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        return self

    def __exit__(self, *_error: object) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(LOCUST_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def exit_code(self) -> int | None:
        """Locust's exit code; None while it runs."""
        return None if self._process is None else self._process.poll()

    def last_words(self) -> str:
        """The last thing that Locust logged, without the word error."""
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        lines = text.strip().splitlines() or ["no output"]
        said = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])
        return said.removeprefix("error: ")


class Watcher:
    """Takes samples; what a source does not say this second is None in the sample."""

    def __init__(
        self, dashboard: Dashboard, history: History, load: Load, pods: Pods | None
    ) -> None:
        self._dashboard = dashboard
        self._history = history
        self._load = load
        self._pods = pods
        self._started = time.monotonic()
        self._last: tuple[float, Moment | None] = (0.0, None)
        self._rps = 0.0

    def sample(self) -> Sample:
        """Ask everybody once."""
        sample = self._ask_locust(Sample(seconds=round(time.monotonic() - self._started, 2)))
        with contextlib.suppress(DashboardError):
            replicas = self._dashboard.replicas()
            sample = replace(
                sample, replicas_wanted=replicas.wanted, replicas_running=len(replicas.running)
            )
            nodes = self._count_nodes(replicas.wanted)
            sample = replace(
                sample,
                nodes_wanted=nodes.wanted,
                nodes_running=nodes.running,
                machines=nodes.machines,
            )
            sample = replace(
                sample,
                utilisation=self._dashboard.utilisation(replicas),
                ongoing=self._dashboard.ongoing_requests(),
            )
        return sample

    def _count_nodes(self, replicas_wanted: int) -> Nodes:
        if self._pods is not None:
            return self._pods.nodes()
        nodes = self._dashboard.nodes()
        # For some seconds Ray counts a node that joins as running and as pending. Nobody wants
        # more nodes than replicas.
        return replace(nodes, wanted=max(nodes.running, min(nodes.wanted, replicas_wanted)))

    def _ask_locust(self, sample: Sample) -> Sample:
        moment = self._history.latest()
        if moment is None:
            return sample
        before_seconds, before = self._last
        if before is None or moment.timestamp > before.timestamp:
            answered = moment.requests - (before.requests if before else 0)
            elapsed = moment.timestamp - before.timestamp if before else sample.seconds
            self._rps = answered / max(elapsed, 1.0)
            self._last = (sample.seconds, moment)
        elif sample.seconds - before_seconds > LOCUST_SILENT_SECONDS:
            return replace(sample, requests=moment.requests, failures=moment.failures)
        rate = self._load.user_rate
        return replace(
            sample,
            users=moment.users,
            offered_rps=None if rate is None else moment.users * rate,
            rps=self._rps,
            requests=moment.requests,
            failures=moment.failures,
            p50_ms=moment.p50_ms,
            p95_ms=moment.p95_ms,
            p99_ms=moment.p99_ms,
        )


def every_second(take: Callable[[], bool]) -> None:
    """Call ``take`` at each full second from now on, until it returns False."""
    due = time.monotonic()
    while take():
        due = max(due + SAMPLE_SECONDS, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0))
