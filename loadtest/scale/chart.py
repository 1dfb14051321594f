"""The picture of a run: load, latency, CPU, replicas and nodes, one above the other."""

import io
import itertools
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
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


def draw(snapshots: Sequence[Snapshot], *, cpu_target: float | None, caption: str) -> bytes:
    """The picture as PNG."""
    figure = Figure(figsize=(10, 9.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(5, sharex=True, height_ratios=(2, 2, 1.6, 2.6, 1.8))
    load, latency, cpu, replicas, nodes = panels
    time = [snapshot.seconds for snapshot in snapshots]
    _draw_load(load, time, snapshots)
    _draw_latency(latency, time, snapshots)
    _draw_cpu(cpu, time, snapshots, cpu_target)
    _draw_counts(replicas, time, snapshots, "replicas", REPLICAS)
    _draw_counts(nodes, time, snapshots, "nodes", NODES)
    machines = _column(snapshots, "machines")
    if any(map(math.isfinite, machines)):
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
    figure.suptitle(f"{_title(ScaleSummary.of(snapshots))}\n", fontsize=14, fontweight="bold")
    figure.text(0.5, 0.955, caption, ha="center", fontsize=9, color=DESIRED)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _title(summary: ScaleSummary) -> str:
    first, most, end = summary.replicas
    failed = "no request failed" if not summary.failures else f"{summary.failures} failed"
    return f"{first} → {most} → {end} replicas, {summary.requests:,} requests, {failed}"


def _column(snapshots: Sequence[Snapshot], name: str) -> list[float]:
    values = [getattr(snapshot, name) for snapshot in snapshots]
    return [float("nan") if value is None else float(value) for value in values]


def _draw_load(axes: Axes, time: list[float], snapshots: Sequence[Snapshot]) -> None:
    answered = _column(snapshots, "rps")
    axes.fill_between(time, answered, color=LOAD, alpha=0.35, lw=0, label="answered")
    axes.step(time, _column(snapshots, "offered_rps"), color=DESIRED, lw=1.2, label="offered")
    failed = [0.0, *(b.failures - a.failures for a, b in itertools.pairwise(snapshots))]
    if any(failed):
        axes.plot(time, failed, color=SLOW, lw=1.5, label="failed")
    axes.set_ylim(bottom=0)


def _draw_latency(axes: Axes, time: list[float], snapshots: Sequence[Snapshot]) -> None:
    axes.plot(time, _column(snapshots, "p99_ms"), color=SLOW, lw=1.4, label="p99")
    axes.plot(time, _column(snapshots, "p50_ms"), color=LOAD, lw=1.4, label="p50")
    axes.set_ylim(bottom=0)


def _draw_cpu(
    axes: Axes, time: list[float], snapshots: Sequence[Snapshot], target: float | None
) -> None:
    axes.plot(time, _column(snapshots, "utilisation"), color=LOAD, lw=1.4, label="mean of replicas")
    if target is not None:
        axes.axhline(target, color=DESIRED, lw=1, ls="--", label=f"target {target:.0%}")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylim(bottom=0)


def _draw_counts(
    axes: Axes, time: list[float], snapshots: Sequence[Snapshot], name: str, color: str
) -> None:
    desired = _column(snapshots, f"{name}_desired")
    running = _column(snapshots, f"{name}_running")
    axes.fill_between(time, running, step="post", color=color, alpha=0.45, lw=0, label="running")
    axes.step(time, desired, where="post", color=DESIRED, lw=1.2, ls="--", label="desired")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    most = max((count for count in (*desired, *running) if math.isfinite(count)), default=1.0)
    axes.set_ylim(0, max(most, 1.0) * 1.15)


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
