"""The command ``serve-app``: all commands, and how each of them ends.

Exit codes: 0 done; 1 done, and the result is not good enough; 2 cannot be done as asked;
130 interrupted.
"""

import os
import sys
from collections.abc import Sequence

import click

from serve_app.cli.gke import gke
from serve_app.cli.init import init
from serve_app.cli.k8s import k8s
from serve_app.cli.load import load
from serve_app.cli.model import describe, package, train
from serve_app.cli.plan import plan
from serve_app.cli.pod import pod
from serve_app.cli.scale import scale
from serve_app.cli.serve import serve
from serve_app.cli.simulate import simulate
from serve_app.cli.style import Group
from serve_app.cli.traces import traces
from serve_app.errors import CheckFailedError, UserError
from serve_app.runtime.signals import kept_interrupts

INTERRUPTED = 130
USAGE_ERROR = 2
SHELLS = ("bash", "zsh", "fish")
COMMANDS = (
    *(init, train, package, describe, serve, traces),
    *(load, scale, plan, simulate, k8s, gke, pod),
)


@click.group(cls=Group, epilog="Start with: serve-app train && serve-app serve")
@click.version_option(package_name="serve-app", message="serve-app %(version)s")
def cli() -> None:
    """Put a tabular model into production: train, package, serve, load-test and deploy it."""


@cli.command(example='eval "$(serve-app completion bash)"', short_help="Complete in your shell.")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands and options in SHELL."""
    from click.shell_completion import get_completion_class

    completer = get_completion_class(shell)
    assert completer is not None  # noqa: S101 - SHELLS are click's own
    click.echo(completer(cli, {}, "serve-app", "_SERVE_APP_COMPLETE").source())


for _command in COMMANDS:
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``serve-app``; returns the exit code."""
    return run(cli, arguments, name="serve-app")


def run(command: click.Command, arguments: Sequence[str] | None = None, *, name: str = "") -> int:
    """Run a command; returns the exit code and prints every error in one line."""
    try:
        with kept_interrupts():
            command.main(arguments, prog_name=name or None, standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        message, code = "interrupted; everything that was started is stopped", INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone, as head does. Python would complain again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except CheckFailedError as error:
        message, code = f"FAILED: {error}", error.exit_code
    except UserError as error:
        message, code = f"error: {error}", error.exit_code
    except click.UsageError as error:
        place = error.ctx.command_path if error.ctx else name
        reason = error.format_message().rstrip(".")
        message, code = f"error: {reason}; see {place} --help", USAGE_ERROR
    except click.ClickException as error:
        message, code = f"error: {error.format_message()}", USAGE_ERROR
    except OSError as error:
        message, code = f"error: {error}", USAGE_ERROR
    else:
        return 0
    print(message, file=sys.stderr)
    return code
