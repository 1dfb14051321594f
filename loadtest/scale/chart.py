"""The picture of a run: load, latency, CPU, replicas and nodes, one above the other."""

import itertools
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from loadtest.scale.samples import Event, ScaleSummary, Snapshot, find_events

LOAD, REPLICAS, NODES, DESIRED, SLOW = "#4c78a8", "#54a24b", "#b279a2", "#444444", "#e45756"
TITLES = (
    "Load, requests/s",
    "Response time, ms",
    "CPU utilisation of the replicas",
    "Replicas",
    "Worker nodes",
)
LABEL_ROOM = 1.4
"""Height of the panel of the replicas, as a multiple of what is drawn there."""
CROWDED = 0.015
"""An event that another one follows within this share of the time is named on its other side."""
MARKED = ("ready", "stopped")
"""What happened to replicas; all else can be seen."""


def draw(
    path: Path, snapshots: Sequence[Snapshot], *, cpu_target: float | None, caption: str
) -> None:
    """Write the picture into ``path``, a PNG."""
    figure = Figure(figsize=(10, 9.6), layout="constrained")
    panels = figure.subplots(5, sharex=True, height_ratios=(2, 2, 1.6, 2.6, 1.8))
    load, latency, cpu, replicas, nodes = panels
    # None becomes NaN, which is not drawn.
    columns = {
        field.name: np.array([getattr(each, field.name) for each in snapshots], dtype=np.float64)
        for field in fields(Snapshot)
    }
    time = columns["seconds"]
    load.fill_between(time, columns["rps"], color=LOAD, alpha=0.35, lw=0, label="answered")
    load.step(time, columns["offered_rps"], color=DESIRED, lw=1.2, label="offered")
    failed = np.diff(columns["failures"], prepend=columns["failures"][0])
    if failed.any():
        load.plot(time, failed, color=SLOW, lw=1.5, label="failed")
    latency.plot(time, columns["p99_ms"], color=SLOW, lw=1.4, label="p99")
    latency.plot(time, columns["p50_ms"], color=LOAD, lw=1.4, label="p50")
    cpu.plot(time, columns["utilisation"], color=LOAD, lw=1.4, label="mean of replicas")
    if cpu_target is not None:
        cpu.axhline(cpu_target, color=DESIRED, lw=1, ls="--", label=f"target {cpu_target:.0%}")
    cpu.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for axes in (load, latency, cpu):
        axes.set_ylim(bottom=0)
    for axes, name, color in ((replicas, "replicas", REPLICAS), (nodes, "nodes", NODES)):
        desired, running = columns[f"{name}_desired"], columns[f"{name}_running"]
        style = {"step": "post", "color": color, "alpha": 0.45, "lw": 0}
        axes.fill_between(time, running, **style, label="running")
        axes.step(time, desired, where="post", color=DESIRED, lw=1.2, ls="--", label="desired")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(0, np.nanmax([1, *desired, *running]) * 1.15)
    if np.isfinite(columns["machines"]).any():
        machines = columns["machines"]
        nodes.step(time, machines, where="post", color=SLOW, lw=1.2, label="Kubernetes nodes")
    for axes, title in zip(panels, TITLES, strict=True):
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0)
        axes.legend(
            loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, frameon=False, ncols=3
        )
    _mark(replicas, panels, find_events(snapshots))
    nodes.set_xlabel("seconds since the start")
    summary = ScaleSummary.of(snapshots)
    first, most, end = summary.replicas
    failures = "no request failed" if not summary.failures else f"{summary.failures} failed"
    title = f"{first} → {most} → {end} replicas, {summary.requests:,} requests, {failures}"
    figure.suptitle(f"{title}\n", fontsize=14, fontweight="bold")
    figure.text(0.5, 0.955, caption, ha="center", fontsize=9, color=DESIRED)
    figure.savefig(path, format="png", dpi=100)


def _mark(axes: Axes, panels: Sequence[Axes], events: Sequence[Event]) -> None:
    """A line through all ``panels`` where a replica came or went, named in ``axes``."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * LABEL_ROOM)
    begin, end = axes.get_xlim()
    marked = [event for event in events if event.text.endswith(MARKED)]
    for event, after in itertools.zip_longest(marked, marked[1:]):
        for panel in panels:
            panel.axvline(event.seconds, color=DESIRED, lw=0.7, ls=":", alpha=0.7)
        is_crowded = after is not None and after.seconds - event.seconds < (end - begin) * CROWDED
        axes.annotate(
            event.text,
            (event.seconds, high * LABEL_ROOM),
            xytext=(-2 if is_crowded else 2, -1),
            textcoords="offset points",
            rotation=90,
            fontsize=8,
            va="top",
            ha="right" if is_crowded else "left",
            color=DESIRED,
        )
