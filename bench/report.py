"""What was measured, for people and for machines: tables, goals, machine."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import measures, systems
from bench.measures import Sample
from bench.processes import PROJECT
from bench.stats import Spread, ratio

PACKAGES = (
    *("fastapi", "httptools", "numpy", "onnxruntime", "orjson", "pandas", "pydantic", "ray"),
    *("scikit-learn", "starlette", "uvicorn", "uvloop"),
)


@dataclass(frozen=True)
class Goal:
    """A limit for a quantity, or for its ratio to another system's."""

    text: str
    measure: str
    system: str
    field: str
    limit: float
    at_least: bool
    base: str | None = None
    """Quantities are divided by this system's of the same round."""

    def found(self, samples: Iterable[Sample]) -> Spread | None:
        """What was measured; None if nothing was."""
        samples = list(samples)
        values = by_round(samples, self.measure, self.system, self.field)
        if self.base is not None:
            return ratio(values, by_round(samples, self.measure, self.base, self.field))
        return Spread.of(values.values()) if values else None

    def verdict(self, found: Spread) -> str:
        """Whether the median reaches the goal, and whether the whole range agrees."""
        reached = self._reaches(found.median)
        text = "reached" if reached else "NOT reached"
        clear = self._reaches(found.low) == reached == self._reaches(found.high)
        return text if clear else f"{text} (range crosses it)"

    def _reaches(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value < self.limit


def _goals() -> tuple[Goal, ...]:
    goals = []
    # Least rows/s per model: the best of seven other servers, measured on another machine.
    for name, times_predecessor, rows in (("lr", 8.0, 177_000.0), ("rf", 40.0, 42_000.0)):
        title, ours = name.upper(), f"ours-{name}-onnx"
        at_32 = ("throughput-32", ours, "rate")
        goals += [
            Goal(
                f"{title}, 32 connections: requests/s of Ray's ceiling",
                *at_32,
                limit=0.85,
                at_least=True,
                base=systems.CEILING,
            ),
            Goal(
                f"{title}, 32 connections: requests/s of the predecessor",
                *at_32,
                limit=times_predecessor,
                at_least=True,
                base=f"predecessor-{name}",
            ),
            Goal(
                f"{title}, 1 connection: p50 of Ray's ceiling",
                "throughput-1",
                ours,
                "p50_ms",
                limit=1.3,
                at_least=False,
                base=systems.CEILING,
            ),
            Goal(
                f"{title}, {measures.OPEN_LOOP_RATE}/s open loop: p99 in ms",
                "latency",
                ours,
                "p99_ms",
                limit=2.2,
                at_least=False,
            ),
            Goal(
                f"{title}, batches of {systems.BATCH_ROWS}: rows/s",
                "batch",
                ours,
                "rate",
                limit=rows,
                at_least=True,
            ),
        ]
    goals.append(
        Goal(
            "tracing at 0.1: requests/s of tracing off",
            f"tracing-{measures.TRACING_CONNECTIONS}",
            "tracing-0.1",
            "rate",
            limit=0.9,
            at_least=True,
            base="tracing-off",
        )
    )
    return tuple(goals)


GOALS = _goals()


def by_round(samples: Iterable[Sample], measure: str, system: str, field: str) -> dict[int, float]:
    """Values of one quantity, by round."""
    return {
        sample.round: sample.values[field]
        for sample in samples
        if (sample.measure, sample.system) == (measure, system)
    }


def machine() -> dict[str, object]:
    """What was measured on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load_average_at_start": os.getloadavg(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def render(samples: Sequence[Sample], about: dict[str, object], generator: str) -> str:
    """Everything as Markdown."""
    loads = [
        (f"throughput-{connections}", f"POST /predict/, {_connections(connections)}")
        for connections in measures.CONNECTIONS
    ]
    batch = f"{systems.BATCH_ROWS} rows per request, {_connections(measures.BATCH_CONNECTIONS)}"
    tracing = measures.TRACING_CONNECTIONS
    about_lines = (
        f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, commit "
        f"{about['commit']}. Load generator: {generator} (closed loop), bench.client (open loop), "
        "on the same cores, over loopback. Medians over the rounds, ranges in brackets; ratios "
        "are taken within each round."
    )
    parts = [
        "# Benchmark",
        about_lines,
        _goal_table(samples),
        *(_load_table(samples, measure, title, systems.CEILING) for measure, title in loads),
        _load_table(samples, "batch", batch, None, unit="rows/s"),
        _load_table(
            samples,
            "latency",
            f"Open loop, {measures.OPEN_LOOP_RATE} requests/s, latency from the time each "
            "request was due",
            None,
        ),
        _load_table(
            samples,
            f"tracing-{tracing}",
            f"Tracing, LR with ONNX, {_connections(tracing)}, by sampling ratio",
            "tracing-off",
        ),
        _footprint_table(samples),
        _failures(samples),
        "\n".join(f"- `{name}`: {text}" for name, text in systems.DESCRIPTIONS.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def goal_results(samples: Sequence[Sample]) -> list[tuple[Goal, Spread]]:
    """Every goal of which something was measured."""
    found = [(goal, goal.found(samples)) for goal in GOALS]
    return [(goal, spread) for goal, spread in found if spread is not None]


def failures(samples: Iterable[Sample]) -> int:
    """Requests that were not answered 200, in all measurements."""
    return round(sum(sample.values.get("failures", 0) for sample in samples))


def _goal_table(samples: Sequence[Sample]) -> str:
    rows = [
        [
            goal.text,
            f"{'>=' if goal.at_least else '<'} {goal.limit:,g}",
            _show(spread),
            goal.verdict(spread),
        ]
        for goal, spread in goal_results(samples)
    ]
    return _table("Goals", ["quantity", "goal", "measured", "verdict"], rows)


def _load_table(
    samples: Sequence[Sample], measure: str, title: str, base: str | None, unit: str = "requests/s"
) -> str:
    names = _systems(samples, measure)
    of_base = by_round(samples, measure, base, "rate") if base in names and base else {}
    tuned = measure == "batch"
    header = ["system", unit, "p50 ms", "p99 ms"]
    header += [f"ratio to {base}"] if of_base else []
    header += ["ratio to tuned"] if tuned else []
    header += ["ratio to predecessor"] if measure.startswith("throughput") else []
    rows = []
    for name in names:
        rates = by_round(samples, measure, name, "rate")
        row = [name, _show(Spread.of(rates.values()))]
        row += [
            _show(Spread.of(by_round(samples, measure, name, field).values()))
            for field in ("p50_ms", "p99_ms")
        ]
        row += [_show_ratio(rates, of_base)] if of_base else []
        for opponent in ("tuned", "predecessor"):
            if f"ratio to {opponent}" in header:
                model = next((part for part in name.split("-") if part in systems.MODEL_NAMES), "")
                other = by_round(samples, measure, f"{opponent}-{model}", "rate")
                row.append(_show_ratio(rates, other))
        rows.append(row)
    return _table(title, header, rows)


def _footprint_table(samples: Sequence[Sample]) -> str:
    rows = [
        [
            name,
            *(
                _show(Spread.of(by_round(samples, "footprint", name, field).values()))
                for field in ("start_seconds", "pss_mb")
            ),
        ]
        for name in _systems(samples, "footprint")
    ]
    header = ["service", "seconds to the first 200", "MB when idle (PSS)"]
    return _table("Start and memory", header, rows)


def _failures(samples: Sequence[Sample]) -> str:
    failed = [sample for sample in samples if sample.values.get("failures")]
    return "\n".join(
        f"- **{sample.values['failures']:.0f} requests failed**: {sample.measure}, "
        f"{sample.system}, round {sample.round}"
        for sample in failed
    )


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([f"## {title}", "", line(header), rule, *map(line, rows)])


def _show(spread: Spread) -> str:
    values = [_number(value) for value in (spread.median, spread.low, spread.high)]
    return f"{values[0]} ({values[1]} to {values[2]})"


def _number(value: float) -> str:
    """Three digits, and all of those before the point."""
    digits_before_point = len(str(int(value)))
    return f"{value:,.{max(3 - digits_before_point, 0)}f}"


def _show_ratio(numerator: dict[int, float], denominator: dict[int, float]) -> str:
    spread = ratio(numerator, denominator)
    return _show(spread) if spread else ""


def _systems(samples: Sequence[Sample], measure: str) -> list[str]:
    names = [sample.system for sample in samples if sample.measure == measure]
    return list(dict.fromkeys(names))


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    return done.stdout.strip() or "unknown"
