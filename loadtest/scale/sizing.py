"""The load that makes a running service scale out, from what a little load costs its replicas."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtest.driver.locust_run import Load
from loadtest.scale.dashboard import Dashboard
from loadtest.scale.record import run_load
from loadtest.scale.samples import Snapshot
from serve_app.errors import UserError
from serve_app.ray_internals.dashboard import RunningScaling

SCENARIO = "baseline"
"""Its users wait for their answers: they overload no model, however slow."""
USERS_PER_REPLICA = 100
"""Some 70 requests a second."""
CALIBRATION_SECONDS = 60.0
CALIBRATIONS = ("calibration", "calibration-2")
"""Directories of the two."""
SHARE_OF_TARGET = 0.8
"""What the second one aims at, of the CPU target."""
LAG_SECONDS = 20.0
"""The dashboard's figures of CPU lag by as much as a quarter of a minute."""
READ_SECONDS = 2.0
COUNTED_SNAPSHOTS = 20
"""The last ones, for the same reason."""
SETTLE_SECONDS = 300.0
"""For a service that scales out even so: the run itself has to start from the least replicas."""
ADVICE = "give the load with --user-rate"


def replicas_to_reach(scaling: RunningScaling | None, wanted: int | None) -> int:
    """Replicas that the peak has to need; by default one more than there always are.

    Until the new ones are ready, minutes later where nodes have to start, those that are there
    answer alone: at a CPU target of 60 %, one more is what they can do.

    Raises:
        UserError: the service does not scale, or not so far.
    """
    if scaling is None:
        raise UserError(f"the deployment does not scale by itself in this cluster; {ADVICE}")
    wanted = wanted or scaling.min_replicas + 1
    if not scaling.min_replicas < wanted <= scaling.max_replicas:
        raise UserError(
            f"{wanted} replicas are no scale-out: the cluster keeps from {scaling.min_replicas} to "
            f"{scaling.max_replicas}; change them there, or --replicas"
        )
    return wanted


def measure_replica(
    dashboard: Dashboard, url: str, model_dir: Path, out: Path, cpu_target: float | None
) -> float:
    """Requests per second that keep one replica busy, from two minutes of little load.

    A request costs up to twice as much CPU time at a replica that idles between requests, so the
    second minute is at most of what the first one says the service carries without scaling out.

    Raises:
        UserError: no load, or CPU utilisation is not known.
    """
    before = dashboard.deployment()
    idle = utilisation_at_rest(lambda: dashboard.utilisation(before))
    replicas = max(1, len(before.running))
    users, cost = USERS_PER_REPLICA * replicas, 0.0
    for name in CALIBRATIONS:
        directory = out / name
        directory.mkdir(parents=True, exist_ok=True)
        load = Load.of(SCENARIO, users=users, seconds=CALIBRATION_SECONDS).at(url, model_dir)
        record = run_load(dashboard, load, directory, settle_seconds=SETTLE_SECONDS)
        shown = [snapshot for snapshot in record.snapshots if snapshot.users == users]
        cost = cpu_seconds_per_request(idle, shown)
        rate = statistics.median(each.rps for each in shown[-COUNTED_SNAPSHOTS:] if each.rps)
        carried = replicas * SHARE_OF_TARGET * (cpu_target or 0.0) / cost
        users = max(users, round(users * carried / rate))
    return 1 / cost


def utilisation_at_rest(read: Callable[[], float | None]) -> float | None:
    """The least that ``read`` returns for `LAG_SECONDS`: it may still show an earlier load."""
    readings, end = [read()], time.monotonic() + LAG_SECONDS
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(READ_SECONDS, left))
        readings.append(read())
    return min((reading for reading in readings if reading is not None), default=None)


def cpu_seconds_per_request(idle: float | None, snapshots: Sequence[Snapshot]) -> float:
    """CPU time that a request costs: utilisation over throughput (utilisation law).

    ``idle`` is the utilisation without load, which would count as the requests' otherwise.

    Raises:
        UserError: the snapshots do not show it.
    """
    costs = [
        (snapshot.utilisation - (idle or 0.0)) * snapshot.replicas_running / snapshot.rps
        for snapshot in snapshots[-COUNTED_SNAPSHOTS:]
        if snapshot.utilisation is not None and snapshot.replicas_running and snapshot.rps
    ]
    cost = statistics.median(costs) if costs else 0.0
    if cost <= 0:
        raise UserError(f"the dashboard does not show what the load costs in CPU time; {ADVICE}")
    return cost


def rate_for(replicas: int, cpu_target: float | None, replica_rps: float) -> float:
    """Requests per second for which ``replicas`` are needed, and one fewer is not enough.

    Raises:
        UserError: it is not known what CPU utilisation the service aims at.
    """
    if cpu_target is None:
        raise UserError(
            f"the service's policy names no CPU target; give one with --cpu-target, or {ADVICE}"
        )
    return (replicas - 0.5) * cpu_target * replica_rps
