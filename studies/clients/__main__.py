"""``nox -s clients``: real clients of other model servers ask a service, and a table of answers."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from serve_app.cli.main import run
from serve_app.cli.style import DIRECTORY, Command, markdown_table
from serve_app.errors import CheckFailedError, UserError
from serve_app.runtime.signals import stopped_by_signals
from studies.clients.case import Case
from studies.clients.checks import Check
from studies.clients.served import MODELS, serving

PROJECT = Path(__file__).parents[2]
SECONDS = 180.0


class Client(NamedTuple):
    """A module that asks."""

    module: str
    environment: str
    """Whose Python runs it, below .nox; empty for this one's."""


CLIENTS = (
    Client("plain", ""),
    Client("triton_http", "peers-mlserver"),
    Client("triton_aio", "peers-mlserver"),
    Client("triton_grpc", "peers-mlserver"),
    Client("kserve_sdk", "peers-kserve"),
    Client("mlserver_codecs", "peers-mlserver"),
)
"""Triton's clients are in MLServer's environment, because MLServer has them itself."""


@click.command(
    cls=Command,
    example="nox -s clients\nnox -s clients -- --only triton --model census --out clients.md",
)
@click.option("--only", "part", default="", help="Only clients with this in their name.")
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Choice(list(MODELS)),
    help="What is served; by default one after the other.",
)
@click.option(
    "--environments",
    type=DIRECTORY,
    default=PROJECT / ".nox",
    show_default=".nox",
    help="Directory of the clients' environments.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Table to write, too.")
def clients(part: str, models: tuple[str, ...], environments: Path, out: Path | None) -> None:
    """Ask a service with the clients of Triton, KServe and MLServer, and print what they saw.

    Exit code 1: a client was not answered as it expects.
    """
    chosen = [each for each in CLIENTS if part in each.module]
    if not chosen:
        names = ", ".join(each.module for each in CLIENTS)
        raise UserError(f"--only {part!r} is in no name of a client; there are: {names}")
    pythons = {each: python_of(each, environments) for each in chosen}
    found: dict[str, list[Check]] = {}
    with stopped_by_signals(), tempfile.TemporaryDirectory() as scratch:
        for model in models or tuple(MODELS):
            found[model] = ask_about(model, pythons, Path(scratch))
    text = report(found)
    click.echo(text)
    if out is not None:
        out.write_text(f"{text}\n", encoding="utf-8")
    failed = sum(not each.passed for checks in found.values() for each in checks)
    if failed:
        raise CheckFailedError(f"{failed} calls of clients were not answered as they expect")


def python_of(client: Client, environments: Path) -> Path:
    """The Python that runs a client.

    Raises:
        UserError: its environment is not there.
    """
    if not client.environment:
        return Path(sys.executable)
    python = environments.absolute() / client.environment / "bin" / "python"
    if not python.exists():
        raise UserError(f"{python} is missing; `nox -s clients` makes its environment")
    return python


def ask_about(model: str, pythons: Mapping[Client, Path], scratch: Path) -> list[Check]:
    """What every client sees of a service of ``model``."""
    directory, file = scratch / model, scratch / f"{model}.json"
    click.echo(f"{model}: training", err=True)
    MODELS[model](directory)
    found = []
    with serving(directory, scratch / f"{model}.log") as case:
        case.write(file)
        for client, python in pythons.items():
            click.echo(f"{model}: {client.module}", err=True)
            found += ask(client, python, file, case)
    return found


def ask(client: Client, python: Path, file: Path, case: Case) -> list[Check]:
    """What one client sees; one failed check if its process does."""
    try:
        done = subprocess.run(
            [python, "-m", f"studies.clients.{client.module}", file],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        return [Check(**each) for each in json.loads(done.stdout.splitlines()[-1])]
    except subprocess.CalledProcessError as error:
        saw = error.stderr.strip()[-500:]
    except (subprocess.TimeoutExpired, ValueError, LookupError) as error:
        saw = f"{type(error).__name__}: {error}"
    return [Check(client.module, f"all of {case.name}", passed=False, saw=" ".join(saw.split()))]


def report(found: Mapping[str, Sequence[Check]]) -> str:
    """Numbers of calls by client, and every call, as Markdown."""
    totals: dict[str, dict[str, list[bool]]] = {}
    for model, checks in found.items():
        for each in checks:
            totals.setdefault(each.client, {}).setdefault(model, []).append(each.passed)
    summary = [
        {
            "client": client,
            **{
                model: f"{sum(by_model[model])} of {len(by_model[model])}"
                if model in by_model
                else "-"
                for model in found
            },
        }
        for client, by_model in totals.items()
    ]
    calls: dict[str, list[dict[str, str]]] = {client: [] for client in totals}
    for model, checks in found.items():
        for each in checks:
            calls[each.client].append(
                {
                    "model": model,
                    "call": each.call,
                    "result": "passed" if each.passed else "FAILED",
                    "what the client saw": each.saw.replace("|", "\\|"),
                }
            )
    tables = (f"## {client}\n\n{markdown_table(rows)}" for client, rows in calls.items())
    return "\n\n".join([markdown_table(summary), *tables])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return run(clients, arguments, name="python -m studies.clients")


if __name__ == "__main__":
    sys.exit(main())
