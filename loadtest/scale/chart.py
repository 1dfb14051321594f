"""The picture of a run: load, latency, CPU, replicas and nodes, one above the other."""

import io
import itertools
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from loadtest.scale.samples import Event, Sample, Summary, find_events

LOAD, REPLICAS, NODES, WANTED, SLOW = "#4c78a8", "#54a24b", "#b279a2", "#444444", "#e45756"
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


def draw(samples: Sequence[Sample], *, cpu_target: float | None, caption: str) -> bytes:
    """The picture as PNG."""
    figure = Figure(figsize=(10, 9.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(5, sharex=True, height_ratios=(2, 2, 1.6, 2.6, 1.8))
    load, latency, cpu, replicas, nodes = panels
    time = [sample.seconds for sample in samples]
    _draw_load(load, time, samples)
    _draw_latency(latency, time, samples)
    _draw_cpu(cpu, time, samples, cpu_target)
    _draw_counts(replicas, time, samples, "replicas", REPLICAS)
    _draw_counts(nodes, time, samples, "nodes", NODES)
    machines = _column(samples, "machines")
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
    _mark(replicas, panels, find_events(samples))
    nodes.set_xlabel("seconds since the start")
    figure.suptitle(f"{_title(Summary.of(samples))}\n", fontsize=14, fontweight="bold")
    figure.text(0.5, 0.955, caption, ha="center", fontsize=9, color=WANTED)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _title(summary: Summary) -> str:
    first, most, end = summary.replicas
    failed = "no request failed" if not summary.failures else f"{summary.failures} failed"
    return f"{first} → {most} → {end} replicas, {summary.requests:,} requests, {failed}"


def _column(samples: Sequence[Sample], name: str) -> list[float]:
    values = [getattr(sample, name) for sample in samples]
    return [float("nan") if value is None else float(value) for value in values]


def _draw_load(axes: Axes, time: list[float], samples: Sequence[Sample]) -> None:
    answered = _column(samples, "rps")
    axes.fill_between(time, answered, color=LOAD, alpha=0.35, lw=0, label="answered")
    axes.step(time, _column(samples, "offered_rps"), color=WANTED, lw=1.2, label="offered")
    failed = [0.0, *(b.failures - a.failures for a, b in itertools.pairwise(samples))]
    if any(failed):
        axes.plot(time, failed, color=SLOW, lw=1.5, label="failed")
    axes.set_ylim(bottom=0)


def _draw_latency(axes: Axes, time: list[float], samples: Sequence[Sample]) -> None:
    axes.plot(time, _column(samples, "p99_ms"), color=SLOW, lw=1.4, label="p99")
    axes.plot(time, _column(samples, "p50_ms"), color=LOAD, lw=1.4, label="p50")
    axes.set_ylim(bottom=0)


def _draw_cpu(
    axes: Axes, time: list[float], samples: Sequence[Sample], target: float | None
) -> None:
    axes.plot(time, _column(samples, "utilisation"), color=LOAD, lw=1.4, label="mean of replicas")
    if target is not None:
        axes.axhline(target, color=WANTED, lw=1, ls="--", label=f"target {target:.0%}")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylim(bottom=0)


def _draw_counts(
    axes: Axes, time: list[float], samples: Sequence[Sample], name: str, color: str
) -> None:
    wanted = _column(samples, f"{name}_wanted")
    running = _column(samples, f"{name}_running")
    axes.fill_between(time, running, step="post", color=color, alpha=0.45, lw=0, label="running")
    axes.step(time, wanted, where="post", color=WANTED, lw=1.2, ls="--", label="wanted")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    most = max((count for count in (*wanted, *running) if math.isfinite(count)), default=1.0)
    axes.set_ylim(0, max(most, 1.0) * 1.15)


def _mark(axes: Axes, panels: Sequence[Axes], events: Sequence[Event]) -> None:
    """A line through all ``panels`` where a replica came or went, named in ``axes``."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * LABEL_ROOM)
    begin, end = axes.get_xlim()
    marked = [event for event in events if event.text.endswith(MARKED)]
    for event, after in itertools.zip_longest(marked, marked[1:]):
        for panel in panels:
            panel.axvline(event.seconds, color=WANTED, lw=0.7, ls=":", alpha=0.7)
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
            color=WANTED,
        )
