"""Measure serve_app against Ray's own ceiling and other servers, in one run.

Prints the tables as Markdown; writes them and the raw samples as JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from bench import report
from bench.load import choose_generator
from bench.measures import MEASURES, Bench, Sample
from bench.processes import PROJECT, BenchError
from bench.systems import DESCRIPTIONS
from serve_app.runtime.signals import stopped_by_signals

RESULTS = PROJECT / "bench" / "results"
QUICK_RESULTS = RESULTS / "scratch"
"""Not under version control."""
SECONDS = 3
ROUNDS = 5


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see python -m bench --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parse(arguments)
    generator = choose_generator()
    about = report.machine()
    started = time.monotonic()

    def progress(text: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {text}", file=sys.stderr, flush=True)

    code = 0
    # Every server is stopped on the way out of a context, so a signal has to raise.
    with stopped_by_signals(), tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        bench = Bench(
            seconds=options.seconds,
            rounds=options.rounds,
            generator=generator,
            scratch=Path(scratch),
            progress=progress,
        )
        progress(f"{', '.join(options.only)}; load generator {generator}")
        try:
            bench.run(options.only)
        except (BenchError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            code = 2
        except KeyboardInterrupt:
            print("error: interrupted", file=sys.stderr)
            code = 130
    if bench.samples:
        settings = {
            "seconds": options.seconds,
            "rounds": options.rounds,
            "generator": generator,
            "complete": code == 0,
        }
        text = report.render(bench.samples, about, generator)
        path = _write(options.out, text, about, settings, bench.samples)
        print(text)
        progress(f"written: {path}, and the tables as .md beside it")
    return code or (1 if report.failures(bench.samples) else 0)


def _write(
    directory: Path,
    text: str,
    about: dict[str, object],
    settings: dict[str, object],
    samples: Sequence[Sample],
) -> Path:
    document = {
        "machine": about,
        "settings": settings,
        "systems": dict(DESCRIPTIONS),
        "goals": [
            {**asdict(goal), "found": asdict(found), "verdict": goal.verdict(found)}
            for goal, found in report.goal_results(samples)
        ],
        "samples": [asdict(sample) for sample in samples],
    }
    path = directory / time.strftime("%Y-%m-%d-%H%M.json")
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    return path


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="python -m bench",
        description=__doc__,
        epilog="Exit code: 0 measured, 1 some requests failed, 2 not or not all measured. "
        "Needs a quiet machine; the default run takes about 20 minutes.",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=MEASURES,
        default=MEASURES,
        metavar="MEASURE",
        help=f"what to measure: {', '.join(MEASURES)} (default: all)",
    )
    parser.add_argument(
        "--seconds",
        type=_positive,
        default=SECONDS,
        help="length of each measurement, whole seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=_positive,
        default=ROUNDS,
        help="how often each is repeated (default: %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round of one second: shows that all works"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="directory for the results (default: bench/results, with --quick its scratch/)",
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.seconds = options.rounds = 1
    options.out = options.out or (QUICK_RESULTS if options.quick else RESULTS)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {options.out}: {error.strerror}; name a directory")
    return options


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
