"""One snapshot a second, from sources that may be silent."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from loadtest.driver.results import read_latest
from loadtest.scale.sampler import Sampler
from tests.loadtest.driver.test_results import HEADER, row
from tests.loadtest.scale.test_dashboard import ANSWERS, watching
from tests.support.canned_server import CannedServer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Seconds, set by the test."""
    clock = SimpleNamespace(now=0.0)
    fake = SimpleNamespace(monotonic=lambda: float(clock.now))
    monkeypatch.setattr("loadtest.scale.sampler.time", fake)
    return clock


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """The file that Locust writes."""
    path = tmp_path / "run_stats_history.csv"
    path.write_text(HEADER, newline="")
    return path


@pytest.fixture
def sampler(tmp_path: Path, clock: SimpleNamespace, history: Path) -> Iterator[Sampler]:
    """Watches the canned dashboard and ``history``."""
    with CannedServer(ANSWERS) as server, watching(server.url) as dashboard:
        yield Sampler(dashboard, partial(read_latest, tmp_path / "run"), 2.0, None)


def write(history: Path, timestamp: int, requests: int) -> None:
    with history.open("a", newline="") as file:
        file.write(row(timestamp, requests))


def test_a_snapshot_holds_what_all_sources_answer(
    sampler: Sampler, clock: SimpleNamespace, history: Path
) -> None:
    """Locust's users and rates, Serve's replicas, Ray's nodes."""
    write(history, 100, 10)
    clock.now = 1.0
    sampler.take()
    write(history, 101, 30)
    clock.now = 2.0
    snapshot = sampler.take()
    assert (snapshot.users, snapshot.offered_rps, snapshot.rps) == (10, 20.0, 20.0)
    assert (snapshot.replicas_running, snapshot.replicas_desired) == (2, 3)
    assert (snapshot.nodes_running, snapshot.nodes_desired) == (1, 3)
    assert snapshot.utilisation == pytest.approx(0.6)


def test_the_load_is_over_when_locust_is_silent(
    sampler: Sampler, clock: SimpleNamespace, history: Path
) -> None:
    """A late line of Locust is no end of the load; a few seconds without one are."""
    write(history, 100, 10)
    clock.now = 1.0
    assert sampler.take().users == 10
    clock.now = 3.0
    late = sampler.take()
    assert (late.users, late.rps, late.p99_ms) == (10, 10.0, 9.0)
    clock.now = 6.0
    over = sampler.take()
    assert (over.users, over.offered_rps, over.rps, over.p99_ms) == (0, None, 0.0, None)
    assert (over.requests, over.failures) == (10, 1), "what was answered stays"


def test_a_silent_dashboard_leaves_blanks(tmp_path: Path, history: Path) -> None:
    """The load goes on, and is recorded."""
    write(history, 100, 10)
    with watching("http://127.0.0.1:9") as dashboard:
        snapshot = Sampler(dashboard, partial(read_latest, tmp_path / "run"), 2.0, None).take()
    assert snapshot.users == 10
    assert (snapshot.replicas_running, snapshot.nodes_running, snapshot.utilisation) == (None,) * 3
