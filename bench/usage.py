"""What a process and its descendants use: memory and processor time."""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

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


def titled(processes: Iterable[psutil.Process], name: str) -> list[psutil.Process]:
    """Those whose program has a name that begins so, or which call themselves so."""
    return [process for process in processes if _title(process).startswith(name)]


class CpuClock:
    """Processor time, user and system, that processes use from now on.

    What a process uses that ends before `seconds` is not counted.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._before = _cpu_seconds(tree())

    def read(self) -> "CpuUse":
        """What was used since this clock was made."""
        used: defaultdict[str, float] = defaultdict(float)
        for process, seconds in _cpu_seconds(self._tree()).items():
            used[_title(process)] += seconds - self._before.get(process, 0.0)
        return CpuUse(used)

    def seconds(self, *names: str) -> float:
        """See `CpuUse.of`, of now."""
        return self.read().of(*names)


@dataclass(frozen=True)
class CpuUse:
    """Processor time of a system."""

    seconds: Mapping[str, float]
    """By name of the process: its program, or what it calls itself."""

    def of(self, *names: str) -> float:
        """Seconds of all processes together, or of those whose names begin so."""
        return sum(
            seconds
            for title, seconds in self.seconds.items()
            if not names or title.startswith(names)
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
