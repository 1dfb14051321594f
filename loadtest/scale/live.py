"""The run in the terminal: a table that follows, or a line now and then in a log."""

import sys
from collections import deque
from typing import TextIO

from loadtest.scale.samples import Snapshot

HEADER = (
    f"{'second':>6}{'users':>6}{'offered/s':>10}{'answered/s':>11}{'failed':>7}{'p50 ms':>7}"
    f"{'p99 ms':>7}{'CPU':>6}{'replicas':>9}{'nodes':>6}"
)
LEGEND = "replicas, nodes: running/desired; blank: no load, or the source gave no value"
ROWS = 12
QUIET_SECONDS = 10.0
CLEAR_LINE = "\x1b[2K"


def line(snapshot: Snapshot) -> str:
    """One row of the table."""
    offered = "" if snapshot.offered_rps is None else f"{snapshot.offered_rps:.0f}"
    cpu = "" if snapshot.utilisation is None else f"{snapshot.utilisation:.0%}"
    return (
        f"{snapshot.seconds:>6.0f}{snapshot.users:>6}{offered:>10}{snapshot.rps:>11.0f}"
        f"{snapshot.failures:>7}{_number(snapshot.p50_ms):>7}{_number(snapshot.p99_ms):>7}{cpu:>6}"
        f"{_of(snapshot.replicas_running, snapshot.replicas_desired):>9}"
        f"{_of(snapshot.nodes_running, snapshot.nodes_desired):>6}"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _of(running: int | None, desired: int | None) -> str:
    return "" if running is None else f"{running}/{desired}"


class LiveTable:
    """Shows snapshots as they come: the last dozen on a terminal, one in ten seconds in a log."""

    def __init__(self, output: TextIO | None = None) -> None:
        self._output = output or sys.stdout
        self._moving = self._output.isatty()
        self._rows: deque[str] = deque(maxlen=ROWS)
        self._drawn = 0
        self._last = -QUIET_SECONDS
        self._phase = ""

    def show(self, snapshot: Snapshot, waiting_for: str) -> None:
        """Show ``snapshot``, and what the run waits for."""
        phase = f"waiting for {waiting_for}"
        if self._moving:
            self._rows.append(line(snapshot))
            lines = [HEADER, *self._rows, LEGEND, phase]
            up = f"\x1b[{self._drawn}A" if self._drawn else ""
            self._output.write(up + "".join(f"{CLEAR_LINE}{text}\n" for text in lines))
            self._drawn = len(lines)
        else:
            if phase != self._phase:
                self._output.write(f"{phase}\n")
                if not self._phase:
                    self._output.write(f"{LEGEND}\n{HEADER}\n")
                self._phase = phase
            if snapshot.seconds - self._last >= QUIET_SECONDS:
                self._output.write(f"{line(snapshot)}\n")
                self._last = snapshot.seconds
        self._output.flush()
