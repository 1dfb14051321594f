"""The one way to run gcloud, kubectl and helm, or only to print what would run."""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import click

from serve_app.errors import CheckFailedError, UserError

RETRY_SECONDS = 10.0

TOOLS = {
    "gcloud": "https://cloud.google.com/sdk/docs/install",
    "gke-gcloud-auth-plugin": "gcloud components install gke-gcloud-auth-plugin",
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
    "helm": "https://helm.sh/docs/intro/install",
    "git": "https://git-scm.com/downloads",
    "gh": "https://cli.github.com",
}
"""The programs that are run, and how to install each."""


class ToolMissingError(UserError):
    """A program is not installed: names it, and how to install it."""

    def __init__(self, tool: str) -> None:
        super().__init__(f"{tool} is not installed; see {TOOLS[tool]}")


class CommandError(CheckFailedError):
    """A command failed: shows it, its own words, and the fix where one is known."""

    def __init__(self, command: Sequence[str], problem: str, output: str, fix: str = "") -> None:
        said = [line.strip() for line in output.strip().splitlines()]
        self.last_line = (said or [problem])[-1].removeprefix("error: ")
        """The last of its own words: there kubectl and gcloud say what went wrong."""
        parts = [f"{shlex.join(command)} {problem}", *said, *([f"fix: {fix}"] if fix else [])]
        if len(said) > 1:
            super().__init__("\n  ".join(parts))
        else:
            super().__init__(" ".join(parts[:2]) + "".join(f"; {part}" for part in parts[2:]))


def require_tools(*tools: str) -> None:
    """Check that programs are installed, before anything is changed.

    Raises:
        ToolMissingError: one is not.
    """
    for tool in tools:
        if shutil.which(tool) is None:
            raise ToolMissingError(tool)


@dataclass
class Shell:
    """Runs commands without a shell; a dry run prints them and finds that nothing exists yet.

    Attributes:
        dry_run: print, run nothing.
    """

    dry_run: bool = False
    _fix: str = field(default="", init=False)

    @contextmanager
    def step(self, title: str, fix: str) -> Iterator[None]:
        """Name what the commands inside are for, and what to do when one of them fails."""
        click.echo(f"# {title}")
        self._fix = fix
        yield
        self._fix = ""

    def read(self, *command: str, seconds: float | None = None) -> str:
        """Run a command that changes nothing; only a dry run shows it.

        Returns what it printed, stripped; the empty string in a dry run.

        Raises:
            CommandError: it failed, or took too long.
            ToolMissingError: the program is not installed.
        """
        if self.dry_run:
            click.echo(f"? {shlex.join(command)}")
            return ""
        return self._run(command, seconds=seconds).strip()

    def change(
        self, *command: str, stdin: str | None = None, note: str = "", attempts: int = 1
    ) -> None:
        """Run a command that changes something, and show it.

        Args:
            command: program and arguments.
            stdin: text for its standard input, never shown: it may be secret.
            note: says in public what standard input holds.
            attempts: how often to try; identities take a moment until they are known everywhere.

        Raises:
            CommandError: the last attempt failed.
            ToolMissingError: the program is not installed.
        """
        click.echo(f"$ {shlex.join(command)}" + (f"  # stdin: {note}" if note else ""))
        if self.dry_run:
            return
        for attempt in range(1, attempts + 1):
            try:
                output = self._run(command, stdin)
            except CommandError:
                if attempt == attempts:
                    raise
                time.sleep(RETRY_SECONDS)
            else:
                break
        if output.strip():
            click.echo(output.rstrip())

    def _run(
        self, command: Sequence[str], stdin: str | None = None, seconds: float | None = None
    ) -> str:
        try:
            # No command may wait for an answer: these also run unattended.
            process = subprocess.run(
                command,
                input=stdin or "",
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds,
                env={**os.environ, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"},
            )
        except FileNotFoundError as error:
            raise ToolMissingError(command[0]) from error
        except subprocess.TimeoutExpired as error:
            raise CommandError(command, f"did not answer within {seconds:g} s", "") from error
        if process.returncode != 0:
            # A part of what was asked for may be there, beside the reason for the exit code.
            output = "\n".join(filter(None, (process.stderr.strip(), process.stdout.strip())))
            problem = f"failed (exit code {process.returncode}):"
            raise CommandError(command, problem, output, self._fix)
        return process.stdout
