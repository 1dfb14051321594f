"""The figures in README.md, from the last kept run and from the files that decide the scaling.

``nox -s generate`` writes them; a test fails when they have drifted.
"""

import json
import statistics
from pathlib import Path
from typing import Any

from deploy.render import Manifests
from deploy.scaling_table import table

PROJECT = Path(__file__).parents[1]
README = PROJECT / "README.md"
RESULTS = PROJECT / "bench" / "results"
SYSTEMS = {
    "this service": "ours-{model}-onnx",
    "FastAPI, written for speed": "tuned-{model}",
    "FastAPI, a DataFrame per request": "predecessor-{model}",
}
REPLICA = ("throughput-32", "ours-lr-onnx")
MODELS = {"lr": "logistic regression", "rf": "forest of 100 trees"}


def newest_run() -> Path:
    """The last kept run of ``nox -s bench``; its name is its date and time."""
    return max(RESULTS.glob("20*.json"))


def replica_rps(run: Path) -> int:
    """Requests per second of one replica of the default model in a run, to the hundred."""
    rate = _median(json.loads(run.read_text(encoding="utf-8"))["samples"], *REPLICA)
    return int(round(rate, -2))


def speed(run: Path) -> str:
    """Medians of a run as Markdown."""
    document = json.loads(run.read_text(encoding="utf-8"))
    samples = document["samples"]
    lines = [
        f"| | {' | '.join(f'{name}, {unit}' for name in MODELS.values() for unit in _UNITS)} |",
        f"|---|{'---|' * len(MODELS) * len(_UNITS)}",
    ]
    for title, pattern in SYSTEMS.items():
        cells = [
            _shown(samples, measure, pattern.format(model=model))
            for model in MODELS
            for measure in _UNITS.values()
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    ceiling = _shown(samples, "throughput-32", "ceiling")
    where = run.with_suffix(".md").relative_to(PROJECT)
    return "\n".join(
        [
            *lines,
            "",
            (
                f"Medians of {document['settings']['rounds']} alternating rounds in "
                f"[one run]({where}) on {document['machine']['cores']} cores, which the load "
                "generator shares: single rows at 32 connections, and batches of 100 rows at 8. A "
                f"Ray Serve handler that returns a constant answered {ceiling} requests/s there."
            ),
        ]
    )


_UNITS = {"requests/s": "throughput-32", "rows/s": "batch"}


def _shown(samples: list[dict[str, Any]], measure: str, system: str) -> str:
    rate = _median(samples, measure, system)
    return f"{rate:,.0f}" if rate else ""


def _median(samples: list[dict[str, Any]], measure: str, system: str) -> float:
    """Median rate; 0 if the system was not measured so."""
    rates = [
        sample["values"]["rate"]
        for sample in samples
        if (sample["measure"], sample["system"]) == (measure, system)
    ]
    return statistics.median(rates) if rates else 0.0


def with_figures(readme: str) -> str:
    """``readme`` with today's figures between its marks.

    Raises:
        ValueError: a pair of marks is missing, or there several times.
    """
    run = newest_run()
    scaling = table(Manifests.open(PROJECT), replica_rps(run))
    for name, text in (("scaling", scaling), ("speed", speed(run))):
        begin, end = f"<!-- generated: {name} -->\n", "<!-- end -->\n"
        before, _, rest = readme.partition(begin)
        _, found, after = rest.partition(end)
        if not found or begin in rest:
            count = readme.count(begin)
            raise ValueError(f"README.md has the marks {begin.strip()} {count} times, not once")
        readme = f"{before}{begin}\n{text.strip()}\n\n{end}{after}"
    return readme


def main() -> None:
    """Write the figures into README.md."""
    README.write_text(with_figures(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(README)


if __name__ == "__main__":
    main()
