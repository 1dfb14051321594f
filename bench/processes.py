"""Start, watch and stop what is measured."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

from serve_app.runtime.ports import free_port

__all__ = ["PROJECT", "BenchError", "Process", "free_port"]

PROJECT = Path(__file__).parents[1]
START_SECONDS = 120.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.05
LOG_TAIL = 2000


class BenchError(Exception):
    """A measurement that cannot be made: names the problem and the fix."""


class Process:
    """A command with all its descendants; a context manager that leaves none of them behind."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        logs: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._command = list(command)
        self._log = logs / f"{name}.log"
        self._environment = {**os.environ, **(environment or {})}
        self._popen: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        with self._log.open("wb") as output:
            # A session of its own: Ctrl-C reaches the benchmark, which then stops it in order.
            self._popen = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=PROJECT,
                env=self._environment,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_error: object) -> None:
        if self._popen is None:
            return
        family = self._family()
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        finally:
            for process in family:
                # psutil checks the start time, so a recycled process id is never hit.
                if process.is_running():
                    process.kill()

    def wait_until(self, ready: Callable[[], bool]) -> float:
        """Wait for ``ready``; returns the seconds since the start.

        Raises:
            BenchError: the process ends or is not ready in time.
        """
        while not ready():
            ended = self._popen is None or self._popen.poll() is not None
            if ended or time.monotonic() - self._started > START_SECONDS:
                tail = self.log()[-LOG_TAIL:]
                raise BenchError(
                    f"{self._name} {'ended' if ended else 'is not ready'} after "
                    f"{time.monotonic() - self._started:.0f} s; its last words:\n{tail}"
                )
            time.sleep(POLL_SECONDS)
        return time.monotonic() - self._started

    def log(self) -> str:
        """Everything that the process has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def pss_bytes(self) -> int:
        """Proportional set size of the process and its descendants: shared pages counted once."""
        total = 0
        for process in self._family():
            try:
                total += process.memory_full_info().pss
            except psutil.NoSuchProcess:
                continue
        return total

    def _family(self) -> list[psutil.Process]:
        if self._popen is None:
            return []
        try:
            parent = psutil.Process(self._popen.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
