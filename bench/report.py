"""What was measured, as Markdown and as JSON."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import measures
from bench.goals import goal_results
from bench.models import BATCH_ROWS, MODEL_NAMES
from bench.stats import Measurement, Spread, by_round, ratio
from bench.systems import CEILING, DESCRIPTIONS


def write(
    directory: Path,
    measurements: Sequence[Measurement],
    about: Mapping[str, object],
    settings: Mapping[str, object],
) -> Path:
    """Write everything as JSON, and the tables beside it; returns the JSON file.

    Args:
        directory: exists; a file is named after the minute.
        measurements: what was measured.
        about: the machine.
        settings: length and number of rounds, and what made the load.
    """
    document = {
        "machine": about,
        "settings": settings,
        "systems": dict(DESCRIPTIONS),
        "goals": [
            {**asdict(goal), "found": asdict(found), "verdict": goal.verdict(found)}
            for goal, found in goal_results(measurements)
        ],
        "samples": [asdict(measured) for measured in measurements],
    }
    path = directory / time.strftime("%Y-%m-%d-%H%M.json")
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    text = render(measurements, about, str(settings["generator"]))
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    return path


def render(measurements: Sequence[Measurement], about: Mapping[str, object], generator: str) -> str:
    """Everything as Markdown."""
    batch = f"{BATCH_ROWS} rows per request, {_connections(measures.BATCH_CONNECTIONS)}"
    open_loop = f"Open loop, {measures.OPEN_LOOP_RATE} requests/s"
    tracing = measures.TRACING_CONNECTIONS
    traced = f"Tracing, LR with ONNX, {_connections(tracing)}, by sampling ratio"
    conditions = (
        f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, commit "
        f"{about['commit']}. Load generator: {generator} (closed loop), bench.client (open loop), "
        "on the same cores, over loopback. Medians over the rounds, ranges in brackets; ratios "
        "are taken within each round."
    )
    parts = [
        "# Benchmark",
        conditions,
        _goal_table(measurements),
        *(
            _load_table(
                measurements,
                f"throughput-{connections}",
                f"POST /predict/, {_connections(connections)}",
                bases=(CEILING, "predecessor"),
            )
            for connections in measures.CONNECTIONS
        ),
        _load_table(measurements, "batch", batch, bases=("tuned",), unit="rows/s"),
        _load_table(
            measurements, "latency", f"{open_loop}, latency from the time each request was due"
        ),
        _load_table(measurements, f"tracing-{tracing}", traced, bases=("tracing-off",)),
        _footprint_table(measurements),
        _failures(measurements),
        "\n".join(f"- `{name}`: {text}" for name, text in DESCRIPTIONS.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def count_failures(measurements: Iterable[Measurement]) -> int:
    """Requests that were not answered 200, in all measurements."""
    return round(sum(measured.values.get("failures", 0) for measured in measurements))


def _goal_table(measurements: Sequence[Measurement]) -> str:
    rows = [
        [
            goal.text,
            f"{'>=' if goal.at_least else '<'} {goal.limit:,g}",
            _show(spread),
            goal.verdict(spread),
        ]
        for goal, spread in goal_results(measurements)
    ]
    return _table("Goals", ["quantity", "goal", "measured", "verdict"], rows)


def _load_table(
    measurements: Sequence[Measurement],
    measure: str,
    title: str,
    *,
    bases: Sequence[str] = (),
    unit: str = "requests/s",
) -> str:
    """Rate, latency, and the rate's ratio to each of ``bases`` that was measured.

    A base is a system, or a kind of system of which each model has one.
    """
    names = _systems(measurements, measure)
    rates = {name: by_round(measurements, measure, name, "rate") for name in names}
    columns = {unit: {name: _show(Spread.of(rates[name].values())) for name in names}}
    for field, header in (("p50_ms", "p50 ms"), ("p99_ms", "p99 ms")):
        values = {name: by_round(measurements, measure, name, field).values() for name in names}
        columns[header] = {name: _show(Spread.of(values[name])) for name in names}
    for base in bases:
        of_base = {
            name: ratio(rates[name], rates.get(base) or rates.get(f"{base}-{_model(name)}", {}))
            for name in names
        }
        if any(of_base.values()):
            columns[f"ratio to {base}"] = {
                name: _show(spread) if spread else "" for name, spread in of_base.items()
            }
    rows = [[name, *(column[name] for column in columns.values())] for name in names]
    return _table(title, ["system", *columns], rows)


def _footprint_table(measurements: Sequence[Measurement]) -> str:
    rows = [
        [
            name,
            *(
                _show(Spread.of(by_round(measurements, "footprint", name, field).values()))
                for field in ("start_seconds", "pss_mb")
            ),
        ]
        for name in _systems(measurements, "footprint")
    ]
    header = ["service", "seconds to the first 200", "MB when idle (PSS)"]
    return _table("Start and memory", header, rows)


def _failures(measurements: Sequence[Measurement]) -> str:
    return "\n".join(
        f"- **{measured.values['failures']:.0f} requests failed**: {measured.measure}, "
        f"{measured.system}, round {measured.round}"
        for measured in measurements
        if measured.values.get("failures")
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
    return f"{_number(spread.median)} ({_number(spread.low)} to {_number(spread.high)})"


def _number(value: float) -> str:
    """Three digits, and all of those before the point."""
    digits_before_point = len(str(int(value)))
    return f"{value:,.{max(3 - digits_before_point, 0)}f}"


def _model(system: str) -> str:
    """The model in the name of a system."""
    return next((part for part in system.split("-") if part in MODEL_NAMES), "")


def _systems(measurements: Sequence[Measurement], measure: str) -> list[str]:
    return list(dict.fromkeys(each.system for each in measurements if each.measure == measure))


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"
