"""A simulation as text, and as a CSV file."""

import csv
import math
from pathlib import Path

import numpy as np

from loadtest.simulate.simulation import ReplicaSpec, Simulation


def describe(simulated: Simulation, replica: ReplicaSpec, cpu_target: float) -> str:
    """The result in a few lines."""
    hours = len(simulated.seconds) * simulated.step_seconds / 3600
    at_peak = math.ceil(simulated.offered_rps.max() / (replica.capacity_rps * cpu_target))
    changes = np.diff(simulated.target)
    return "\n".join(
        f"{name:<18}{text}"
        for name, text in {
            "traffic": f"{hours:,.1f} h, peak {simulated.offered_rps.max():,.0f}/s, "
            f"{simulated.offered_rps.sum() * simulated.step_seconds:,.0f} requests",
            "replicas": f"{simulated.target.min():,.0f} to {simulated.target.max():,.0f}, mean "
            f"{simulated.target.mean():,.1f}; {int((changes > 0).sum())} times more, "
            f"{int((changes < 0).sum())} times fewer",
            "above saturation": f"{simulated.share_above_saturation:.3%} of the requests; "
            f"{simulated.share_refused:.3%} refused",
            "replica-hours": f"{simulated.replica_hours:,.1f}; {at_peak * hours:,.1f} if the "
            f"{at_peak:,} that the peak needs ran all the time",
        }.items()
    )


def write_csv(path: Path, simulated: Simulation) -> None:
    """Write every series, one row per step."""
    names = (
        *("seconds", "offered_rps", "capacity_rps", "served_rps", "refused_rps"),
        *("waiting", "running", "target", "utilisation"),
    )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        columns = (getattr(simulated, name).tolist() for name in names)
        writer.writerows([f"{value:.6g}" for value in row] for row in zip(*columns, strict=True))
