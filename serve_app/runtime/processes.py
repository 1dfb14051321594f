"""Processes: start a command, watch it, and stop it with everything that it has started."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

from serve_app.errors import UserError

POLL_SECONDS = 0.05
LOG_TAIL = 2000
"""Characters of a log that an error shows."""


class ProcessError(UserError):
    """A command that does not start, or ends too early: shows the end of its log."""


def tree_of(pid: int) -> list[psutil.Process]:
    """A process and all its descendants; none if it has gone."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def named(processes: Iterable[psutil.Process], name: str) -> list[psutil.Process]:
    """Those of ``processes`` that have a name and still run."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.name() == name and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def in_session(leader: int) -> list[psutil.Process]:
    """Processes that run in the session of the process ``leader``, which may have ended."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            # The kernel gives no new process the id of a session that still has one.
            if os.getsid(pid) == leader:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
    return found


def kill_session(leader: int, seconds: float) -> int:
    """Kill every process of a session, also those that are started meanwhile.

    Args:
        leader: process whose session it is.
        seconds: most time until none is left.

    Returns:
        Number of processes that were killed.
    """
    killed: set[psutil.Process] = set()
    deadline = time.monotonic() + seconds
    while (running := in_session(leader)) and time.monotonic() < deadline:
        for process in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        killed.update(running)
        time.sleep(POLL_SECONDS)
    return len(killed)


def terminate_all(processes: Sequence[psutil.Process], seconds: float) -> None:
    """Ask processes to end, and kill those that still run after ``seconds``."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    kill_left(processes, seconds)


def kill_left(processes: Iterable[psutil.Process], seconds: float) -> None:
    """Wait for processes to end, and kill those that still run after ``seconds``."""
    _, alive = psutil.wait_procs(list(processes), timeout=seconds)
    for process in alive:
        # psutil compares the start time: a process id that was used again is never hit.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=seconds)


class Command:
    """A command in a session of its own; a context manager that leaves no process behind.

    Args:
        command: program and arguments.
        log: file that takes standard output and standard error.
        environment: variables on top of this process's own.
        directory: working directory.
        stop_seconds: from SIGTERM until what still runs is killed.
        stop_tree: send SIGTERM to the descendants too, for a program that does not stop them.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        stop_seconds: float = 20.0,
        stop_tree: bool = False,
    ) -> None:
        self.log_file = log
        self._command = list(command)
        self._environment = environment
        self._directory = directory
        self._stop_seconds = stop_seconds
        self._stop_tree = stop_tree
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def __enter__(self) -> Self:
        """Start it."""
        self._started = time.monotonic()
        with self.log_file.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the caller's command
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env={**os.environ, **(self._environment or {})},
                # Ctrl-C is for the program that starts it, which stops it in order.
                start_new_session=True,
            )
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop it, and everything that it has started."""
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise RuntimeError("the command was not started")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs."""
        return None if self._process is None else self._process.poll()

    def log(self) -> str:
        """Everything that it has printed so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def tree(self) -> list[psutil.Process]:
        """The command and its descendants; none once it has ended."""
        # Its process id may be another program's by then.
        running = self._process is not None and self.exit_code is None
        return tree_of(self.pid) if running else []

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> float:
        """Wait for ``ready``; returns the seconds since the start.

        Raises:
            ProcessError: the command ends, or is not ready in time.
        """
        while True:
            # Asked first: it may be ready, and end, between the two questions.
            ended = self.exit_code is not None
            if ready():
                break
            elapsed = time.monotonic() - self._started
            if ended or elapsed > seconds:
                raise ProcessError(
                    f"{' '.join(self._command[:3])} {'ended' if ended else 'is not ready'} after "
                    f"{elapsed:.0f} s; the end of its log, {self.log_file}:\n"
                    f"{self.log()[-LOG_TAIL:]}"
                )
            time.sleep(POLL_SECONDS)
        return time.monotonic() - self._started

    def stop(self) -> int | None:
        """Send SIGTERM, wait, and kill what is left; returns the exit code, if it was started."""
        if self._process is None:
            return None
        deadline = time.monotonic() + self._stop_seconds
        # Not the command itself: psutil would take its exit code.
        others = self.tree()[1:]
        self._process.terminate()
        if self._stop_tree:
            terminate_all(others, self._stop_seconds)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        kill_left(others, 0)
        self._process.kill()
        return self._process.wait()
