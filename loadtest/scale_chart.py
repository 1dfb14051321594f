"""The picture of a run: load, latency, CPU, replicas and nodes, one above the other."""

import io
import itertools
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from loadtest.samples import Event, Sample, Summary, find_events

LOAD, REPLICAS, NODES, WANTED, SLOW = "#4c78a8", "#54a24b", "#b279a2", "#444444", "#e45756"


def draw(samples: Sequence[Sample], *, cpu_target: float | None, subtitle: str) -> bytes:
    """The picture as PNG."""
    figure = Figure(figsize=(10, 9.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(5, sharex=True, height_ratios=(2.2, 2, 1.6, 2.6, 1.8))
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
    nodes.set_ylabel("worker nodes")
    _mark(replicas, [e for e in find_events(samples) if e.text.endswith(("ready", "stopped"))])
    for axes in panels:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0)
        axes.legend(loc="upper left", frameon=False, ncols=3, fontsize=9)
    nodes.set_xlabel("seconds since the start")
    figure.suptitle(_title(Summary.of(samples)), fontsize=14, fontweight="bold")
    load.set_title(subtitle, fontsize=9, color=WANTED)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
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
    axes.set_ylabel("load,\nrequests/s")
    axes.set_ylim(bottom=0)


def _draw_latency(axes: Axes, time: list[float], samples: Sequence[Sample]) -> None:
    axes.plot(time, _column(samples, "p99_ms"), color=SLOW, lw=1.4, label="p99")
    axes.plot(time, _column(samples, "p50_ms"), color=LOAD, lw=1.4, label="p50")
    axes.set_ylabel("response\ntime, ms")
    axes.set_ylim(bottom=0)


def _draw_cpu(
    axes: Axes, time: list[float], samples: Sequence[Sample], target: float | None
) -> None:
    axes.plot(time, _column(samples, "utilisation"), color=LOAD, lw=1.4, label="mean of replicas")
    if target is not None:
        axes.axhline(target, color=WANTED, lw=1, ls="--", label=f"target {target:.0%}")
    axes.set_ylabel("CPU\nutilisation")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylim(bottom=0)


def _draw_counts(
    axes: Axes, time: list[float], samples: Sequence[Sample], name: str, color: str
) -> None:
    wanted = _column(samples, f"{name}_wanted")
    running = _column(samples, f"{name}_running")
    axes.fill_between(time, running, step="post", color=color, alpha=0.45, lw=0, label="running")
    axes.step(time, wanted, where="post", color=WANTED, lw=1.2, ls="--", label="wanted")
    axes.set_ylabel(name)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    most = max((count for count in (*wanted, *running) if math.isfinite(count)), default=1.0)
    # Room above for the legend and the events.
    axes.set_ylim(0, most * 1.6)


def _mark(axes: Axes, events: Sequence[Event]) -> None:
    low, high = axes.get_ylim()
    for event in events:
        axes.axvline(event.seconds, color=WANTED, lw=0.7, ls=":")
        axes.annotate(
            event.text,
            (event.seconds, high),
            xytext=(2, -2),
            textcoords="offset points",
            rotation=90,
            fontsize=7.5,
            va="top",
            ha="left",
            color=WANTED,
        )
    axes.set_ylim(low, high)
