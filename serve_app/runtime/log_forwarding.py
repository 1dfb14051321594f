"""Copy what replicas log from Ray's files to standard output, where clusters collect logs.

Ray writes the standard error of each worker process to a file of its own; nothing of it reaches the
log of the pod. Only the application's own events are copied, one JSON object per line.
"""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from serve_app.ray_internals.nodes import WORKER_ERRORS

LOOK_SECONDS = 1.0


class Follower:
    """Reads what is new in the files of workers that come and go."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read_bytes: dict[Path, int] = {}

    def new_lines(self) -> Iterator[bytes]:
        """Lines that were completed since the last call."""
        for path in sorted(self._directory.glob(WORKER_ERRORS)):
            # A file that Ray has just rotated away is not there for a moment, or is short again.
            try:
                if path.stat().st_size != self._read_bytes.get(path, 0):
                    yield from self._read(path)
            except FileNotFoundError:
                continue

    def _read(self, path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            if path.stat().st_size < self._read_bytes.setdefault(path, 0):
                self._read_bytes[path] = 0
            file.seek(self._read_bytes[path])
            for line in file:
                if not line.endswith(b"\n"):
                    break  # its end is still to be written
                self._read_bytes[path] += len(line)
                yield line


def is_event(line: bytes) -> bool:
    """Whether a line is an event of the application, not a traceback or a message of Ray."""
    try:
        event = json.loads(line) if line.startswith(b"{") else None
    except ValueError:
        return False
    return isinstance(event, dict) and {"severity", "message"} <= event.keys()


def follow(
    follower: Follower, write: Callable[[bytes], object], is_stopping: Callable[[], bool]
) -> None:
    """Write events as they appear; when it is time to stop, read the files once more."""
    while True:
        is_last = is_stopping()
        for line in follower.new_lines():
            if is_event(line):
                write(line)
        if is_last:
            return
        time.sleep(LOOK_SECONDS)


def forward(directory: Path, output: BinaryIO) -> None:
    """Copy events from ``directory`` to ``output`` until SIGTERM."""
    signals: list[int] = []
    # The first process of a container ignores every signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda number, _frame: signals.append(number))

    def write(line: bytes) -> None:
        output.write(line)
        output.flush()

    follow(Follower(directory), write, lambda: bool(signals))
