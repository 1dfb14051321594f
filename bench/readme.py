"""The figures in README.md, from the last kept run and from the files that decide the scaling.

``nox -s generate`` writes them; a test fails when they have drifted.
"""

import json
import statistics
from pathlib import Path

from bench import PROJECT
from bench.scaling_table import table
from bench.stats import Measurement, by_round
from deploy.render import Manifests
from serve_app.cli.style import markdown_table

README = PROJECT / "README.md"
RESULTS = PROJECT / "bench" / "results"
SYSTEMS = {
    "this service": "ours-{model}-onnx",
    "FastAPI, written for speed": "tuned-{model}",
    "FastAPI, a DataFrame per request": "predecessor-{model}",
}
MODELS = {"lr": "logistic regression", "rf": "forest of 100 trees"}
UNITS = {"requests/s": "throughput-32", "rows/s": "batch"}


def newest_run() -> Path:
    """The last kept run of ``nox -s bench``; its name is its date and time."""
    return max(RESULTS.glob("20*.json"))


def replica_rps(run: Path) -> int:
    """Requests per second of one replica of the default model in a run, to the hundred."""
    rates = by_round(_samples(run), "throughput-32", "ours-lr-onnx", "rate").values()
    return int(round(statistics.median(rates), -2))


def speed(run: Path) -> str:
    """Medians of a run as Markdown."""
    document, samples = json.loads(run.read_text(encoding="utf-8")), _samples(run)
    rows = [
        {
            "": title,
            **{
                f"{name}, {unit}": _shown(samples, measure, pattern.format(model=model))
                for model, name in MODELS.items()
                for unit, measure in UNITS.items()
            },
        }
        for title, pattern in SYSTEMS.items()
    ]
    return (
        f"{markdown_table(rows)}\n\n"
        f"Medians of {document['settings']['rounds']} alternating rounds in "
        f"[one run]({run.with_suffix('.md').relative_to(PROJECT)}) on "
        f"{document['machine']['cores']} cores, which the load generator shares: single rows at 32 "
        "connections, and batches of 100 rows at 8. A Ray Serve handler that returns a constant "
        f"answered {_shown(samples, 'throughput-32', 'ceiling')} requests/s there."
    )


def _samples(run: Path) -> list[Measurement]:
    samples = json.loads(run.read_text(encoding="utf-8"))["samples"]
    return [Measurement(**sample) for sample in samples]


def _shown(samples: list[Measurement], measure: str, system: str) -> str:
    """Median rate; empty if the system was not measured so."""
    rates = by_round(samples, measure, system, "rate").values()
    return f"{statistics.median(rates):,.0f}" if rates else ""


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
        readme = f"{before}{begin}\n{text}\n\n{end}{after}"
    return readme


if __name__ == "__main__":
    README.write_text(with_figures(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(README)
