"""One way to run gcloud, kubectl and helm, or only to print what would run."""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

RETRY_SECONDS = 10.0


class CommandError(Exception):
    """A command that failed: the command, its last words and what to do.

    Attributes:
        command: the command line, quoted for a shell.
        fix: what a person can do about it; empty if unknown.
    """

    def __init__(self, command: Sequence[str], exit_code: int, output: str, fix: str = "") -> None:
        self.command = shlex.join(command)
        self.fix = fix
        lines = [f"failed (exit code {exit_code}): {self.command}", *output.strip().splitlines()]
        super().__init__("\n  ".join(lines + ([f"fix: {fix}"] if fix else [])))


@dataclass
class Shell:
    """Runs commands without a shell; a dry run prints them and finds that nothing exists yet.

    Attributes:
        dry_run: print, run nothing.
        say: takes each line of progress.
        sleep: waits between attempts, in seconds.
    """

    dry_run: bool = False
    say: Callable[[str], None] = print
    sleep: Callable[[float], None] = time.sleep
    _fix: str = field(default="", init=False)

    @contextmanager
    def step(self, title: str, fix: str) -> Iterator[None]:
        """Name what the commands inside are for, and what to do when one of them fails."""
        self.say(f"# {title}")
        self._fix = fix
        yield
        self._fix = ""

    def read(self, *command: str) -> str:
        """Run a command that changes nothing and return what it printed, stripped.

        Returns:
            The empty string in a dry run.

        Raises:
            CommandError: it failed.
        """
        if self.dry_run:
            self.say(f"? {shlex.join(command)}")
            return ""
        return self._run(command).strip()

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
        """
        self.say(f"$ {shlex.join(command)}" + (f"  # stdin: {note}" if note else ""))
        if self.dry_run:
            return
        for attempt in range(1, attempts + 1):
            try:
                output = self._run(command, stdin)
            except CommandError:
                if attempt == attempts:
                    raise
                self.sleep(RETRY_SECONDS)
            else:
                break
        if output.strip():
            self.say(output.rstrip())

    def _run(self, command: Sequence[str], stdin: str | None = None) -> str:
        try:
            # Nothing may wait for an answer: these commands also run where nobody types.
            process = subprocess.run(
                command,
                input=stdin or "",
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"},
            )
        except FileNotFoundError as error:
            raise CommandError(command, 127, str(error), f"install {command[0]}") from error
        if process.returncode != 0:
            # Much of what was asked for may be there, beside the reason for the exit code.
            output = "\n".join(filter(None, (process.stderr.strip(), process.stdout.strip())))
            raise CommandError(command, process.returncode, output, self._fix)
        return process.stdout
