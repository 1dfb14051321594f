"""A simulated day as text, as a CSV file, and as a picture."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MultipleLocator, PercentFormatter
from numpy.typing import NDArray

from loadtest.simulate.simulation import ReplicaSpec, Simulation
from loadtest.simulate.traffic import HOUR, Series

TRAFFIC, CAPACITY, SHORT, TARGET, SAVED = "#4c78a8", "#54a24b", "#e45756", "#666666", "#b279a2"
HEADROOM = 1.3
"""Space above the curves, for the legend."""
MAX_POINTS = 4000
MINUTE = 60.0
TICKS = (MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 24 * HOUR)
MAX_TICKS = 12


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
    columns = [getattr(simulated, name) for name in names]
    header = ",".join(names)
    np.savetxt(path, np.transpose(columns), "%.6g", delimiter=",", header=header, comments="")


def draw(simulated: Simulation, cpu_target: float, path: Path) -> None:
    """Write ``path``, a PNG: traffic against capacity, replicas, how busy they were."""
    figure = Figure(figsize=(10, 6.6), layout="constrained")
    load, size, busy = figure.subplots(3, sharex=True, height_ratios=(3, 2.2, 1.6))
    shown = worst_moments(simulated.offered_rps - simulated.capacity_rps)
    seconds, offered = simulated.seconds[shown], simulated.offered_rps[shown]
    capacity, target = simulated.capacity_rps[shown], simulated.target[shown]
    load.fill_between(seconds, offered, color=TRAFFIC, alpha=0.45, lw=0, label="traffic")
    reach = "capacity of the running replicas"
    load.step(seconds, capacity, where="post", color=CAPACITY, lw=1.4, label=reach)
    short = (offered > capacity).tolist()
    if any(short):
        style = {"color": SHORT, "lw": 0, "label": "above saturation"}
        load.fill_between(seconds, capacity, offered, where=short, **style)
    load.set_ylabel("requests/s")
    load.yaxis.set_major_formatter(EngFormatter(sep=""))
    size.step(seconds, target, where="post", color=TARGET, lw=1, label="desired")
    style = {"step": "post", "color": CAPACITY, "alpha": 0.45}
    size.fill_between(seconds, simulated.running[shown], **style, label="running")
    peak = float(simulated.target.max())
    size.axhline(peak, color=SAVED, lw=1, ls=":")
    saved = f"saved: {1 - float(simulated.target.mean()) / peak:.0%} of a fixed {peak:,.0f}"
    style = {"step": "post", "color": SAVED, "alpha": 0.12, "lw": 0}
    size.fill_between(seconds, target, peak, **style, label=saved)
    size.set_ylabel("replicas")
    busy.plot(seconds, simulated.utilisation[shown], color=TRAFFIC, lw=0.8)
    busy.axhline(cpu_target, color=TARGET, lw=1, ls="--", label=f"target {cpu_target:.0%}")
    busy.set_ylim(0, HEADROOM)
    busy.yaxis.set_major_locator(MultipleLocator(0.5))
    busy.set_ylabel("CPU utilisation")
    busy.yaxis.set_major_formatter(PercentFormatter(1))
    for axes in (load, size):
        axes.set_ylim(0, axes.dataLim.y1 * HEADROOM)
    for axes in (load, size, busy):
        axes.grid(alpha=0.25)
        axes.legend(loc="upper left", frameon=False, ncols=3)
        axes.spines[["top", "right"]].set_visible(False)
    _label_time(busy, float(simulated.seconds[-1] + simulated.step_seconds))
    above, rate = simulated.share_above_saturation, EngFormatter(places=0, sep="")
    title = (
        f"Simulated: {simulated.target.min():,.0f} to {peak:,.0f} replicas follow "
        f"{rate(simulated.offered_rps.min())} to {rate(simulated.offered_rps.max())} requests/s; "
        f"{f'{above:.2%}' if above else 'none'} of the requests come above saturation"
    )
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, format="png", dpi=110)


def worst_moments(shortage: Series, most: int = MAX_POINTS) -> NDArray[np.intp]:
    """At most so many positions, evenly spread: of each stretch the one with the most shortage.

    Every n-th position would hide a shortage that is shorter than n.
    """
    length = len(shortage)
    starts = range(0, length, math.ceil(length / most))
    stretches = np.split(shortage, starts[1:])
    return np.array(
        [start + np.argmax(stretch) for start, stretch in zip(starts, stretches, strict=True)]
    )


def _label_time(axes: Axes, length: float) -> None:
    tick = next((tick for tick in TICKS if length / tick <= MAX_TICKS), TICKS[-1])
    unit, name = (HOUR, "hours") if tick >= HOUR else (MINUTE, "minutes")
    axes.xaxis.set_major_locator(MultipleLocator(tick))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit:g}"))
    axes.set_xlim(0, length)
    axes.set_xlabel(name)
