"""What a process and its descendants use: memory and processor time."""

import contextlib
from collections.abc import Callable, Iterable, Sequence

import psutil

Tree = Callable[[], Sequence[psutil.Process]]
"""Finds the processes of a system."""


def pss_bytes(processes: Iterable[psutil.Process]) -> int:
    """Proportional set size of all together: pages that they share are counted once."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total


class CpuClock:
    """Processor time, user and system, that processes use from now on.

    What a process uses that ends before `seconds` is not counted.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._before = _cpu_seconds(tree())

    def seconds(self, *names: str) -> float:
        """Seconds since this clock was made, of all processes of the system together.

        Args:
            names: beginnings of the names of those that count; without any, all do.
        """
        return sum(
            used - self._before.get(process, 0.0)
            for process, used in _cpu_seconds(self._tree()).items()
            if not names or _title(process).startswith(names)
        )


def _cpu_seconds(processes: Iterable[psutil.Process]) -> dict[psutil.Process, float]:
    found = {}
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found[process] = times.user + times.system
    return found


def _title(process: psutil.Process) -> str:
    """Name of its program, or what it calls itself."""
    with contextlib.suppress(psutil.NoSuchProcess, IndexError):
        return process.cmdline()[0].rpartition("/")[2]
    return ""
