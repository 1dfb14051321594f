"""The load that a running service needs to scale out."""

import pytest

from loadtest.scale import sizing
from loadtest.scale.samples import Snapshot
from loadtest.scale.sizing import (
    COUNTED_SNAPSHOTS,
    cpu_seconds_per_request,
    rate_for,
    replicas_to_reach,
)
from serve_app.errors import UserError
from serve_app.ray_internals.dashboard import RunningScaling

SCALING = RunningScaling(min_replicas=2, max_replicas=5, cpu_target=0.6)


@pytest.mark.parametrize(("wanted", "reached"), [(None, 3), (4, 4), (5, 5)])
def test_one_more_replica_than_there_always_are(wanted: int | None, reached: int) -> None:
    """Or as many as were asked for, up to the most."""
    assert replicas_to_reach(SCALING, wanted) == reached


@pytest.mark.parametrize(
    ("scaling", "wanted", "words"),
    [
        (SCALING, 2, "2 replicas are no scale-out: the cluster keeps from 2 to 5"),
        (SCALING, 6, "6 replicas are no scale-out"),
        (RunningScaling(3, 3, 0.6), None, "4 replicas are no scale-out"),
        (None, None, "does not scale by itself in this cluster; give the load with --user-rate"),
    ],
)
def test_what_the_cluster_does_not_do(
    scaling: RunningScaling | None, wanted: int | None, words: str
) -> None:
    """Refused with what to change, before there is any load."""
    with pytest.raises(UserError, match=words):
        replicas_to_reach(scaling, wanted)


def snapshot(utilisation: float | None, rps: float = 200.0, replicas: int | None = 2) -> Snapshot:
    return Snapshot(0.0, rps=rps, utilisation=utilisation, replicas_running=replicas)


def test_the_cost_of_a_request() -> None:
    """Two replicas at 12 %, 2 % of it without load, for 200 requests/s: a millisecond."""
    late = [snapshot(0.02)] * 40  # the dashboard shows the time before the load
    shown = [snapshot(None), snapshot(0.12, rps=0.0), snapshot(0.12, replicas=None)]
    shown += [snapshot(0.12)] * (COUNTED_SNAPSHOTS - len(shown))
    assert cpu_seconds_per_request(0.02, late + shown) == pytest.approx(0.001)


@pytest.mark.parametrize("snapshots", [[], [snapshot(None)], [snapshot(0.02)]])
def test_a_cost_that_cannot_be_seen(snapshots: list[Snapshot]) -> None:
    """Refused, instead of an endless load."""
    with pytest.raises(UserError, match="give the load with --user-rate"):
        cpu_seconds_per_request(0.02, snapshots)


@pytest.mark.parametrize(("least", "wanted"), [(1, 2), (2, 3), (2, 5), (4, 5)])
def test_the_load_makes_the_policy_ask_for_so_many(least: int, wanted: int) -> None:
    """CPU time per second over the target, rounded up, is what the policy asks for."""
    target, replica_rps = 0.6, 1400.0
    rate = rate_for(wanted, target, replica_rps)
    busy = rate / replica_rps
    assert wanted - 1 < busy / target < wanted
    if wanted == least + 1:
        # They endure the peak alone until the new one is ready.
        assert busy / least < 1


def test_a_policy_without_a_target() -> None:
    """Its load has to be given."""
    with pytest.raises(UserError, match="--cpu-target, or give the load with --user-rate"):
        rate_for(3, None, 1000.0)


def test_an_earlier_load_does_not_count_as_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least reading counts; one that is missing does not."""
    monkeypatch.setattr(sizing, "LAG_SECONDS", 0.05)
    monkeypatch.setattr(sizing, "READ_SECONDS", 0.01)
    readings = iter([0.5, None, 0.25])
    assert sizing.utilisation_at_rest(lambda: next(readings, 0.3)) == 0.25
    assert sizing.utilisation_at_rest(lambda: None) is None
