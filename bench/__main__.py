"""Measure serve_app against Ray's own ceiling and other servers, in one run."""

import sys
import tempfile
import time
from pathlib import Path

import click

from bench import RESULTS, report
from bench.measures import MEASURES, Bench
from bench.models import RECIPES
from serve_app.cli.main import run
from serve_app.cli.style import COUNT, DIRECTORY, Command
from serve_app.errors import CheckFailedError
from serve_app.runtime.signals import stopped_by_signals

QUICK_RESULTS = RESULTS / "scratch"
"""Not under version control."""


@click.command(
    cls=Command,
    example="nox -s bench\n"
    "nox -s bench -- --peers --rounds 3 --seconds 2\n"
    "nox -s bench -- throughput calls --only lr --only mixed --rounds 3\n"
    "nox -s bench -- protocols --only lr --peers --quick",
)
@click.argument(
    "chosen", nargs=-1, type=click.Choice(MEASURES), metavar=f"[{'|'.join(MEASURES)}]..."
)
@click.option("--seconds", type=COUNT, default=3, help="Length of each measurement.")
@click.option("--rounds", type=COUNT, default=5, help="How often each is repeated.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(tuple(RECIPES)),
    help="A model that takes part, instead of all of them; may be repeated.",
)
@click.option("--peers", is_flag=True, help="Measure other model servers too.")
@click.option("--quick", is_flag=True, help="One round of one second: shows that all works.")
@click.option(
    "--out",
    type=DIRECTORY,
    help="Directory for the results; by default bench/results, with --quick its scratch/.",
)
def bench(
    chosen: tuple[str, ...],
    seconds: int,
    rounds: int,
    *,
    only: tuple[str, ...],
    peers: bool,
    quick: bool,
    out: Path | None,
) -> None:
    """Measure serve_app against Ray's own ceiling and other servers, in one run.

    Prints the tables as Markdown; writes them, and everything that was measured as JSON. Without
    arguments everything is measured, in about 28 minutes; with --peers --rounds 3 --seconds 2 in
    about 19. It needs wrk, for the measure protocols h2load too, and a quiet machine.
    Exit code 1: some requests failed.
    """
    if quick:
        seconds = rounds = 1
    out = out or (QUICK_RESULTS if quick else RESULTS)
    out.mkdir(parents=True, exist_ok=True)
    about, started = report.machine(), time.monotonic()

    def progress(text: str) -> None:
        click.echo(f"[{time.monotonic() - started:6.1f} s] {text}", err=True)

    complete = False
    # Every server is stopped on the way out of a context, so a signal has to raise.
    with stopped_by_signals(), tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        measuring = Bench(
            seconds=seconds,
            rounds=rounds,
            scratch=Path(scratch),
            progress=progress,
            only=only or tuple(RECIPES),
            with_peers=peers,
        )
        progress(", ".join(chosen or MEASURES))
        try:
            measuring.measure(chosen or MEASURES)
            complete = True
        finally:
            # Also what was measured until something failed, or until Ctrl-C.
            if measuring.measurements:
                settings = {"seconds": seconds, "rounds": rounds, "complete": complete}
                path = report.write(out, measuring.measurements, about, settings)
                click.echo(path.with_suffix(".md").read_text(encoding="utf-8"))
                progress(f"written: {path}, and the tables as .md beside it")
    if failures := report.count_failures(measuring.measurements):
        raise CheckFailedError(f"{failures} requests failed; the report names the measurements")


if __name__ == "__main__":
    sys.exit(run(bench, name="python -m bench"))
