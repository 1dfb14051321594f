"""What happens now, in the terminal: a table that follows, or a line now and then."""

import sys
from collections import deque
from typing import TextIO

from loadtest.scale.samples import Sample

HEADER = (
    f"{'seconds':>8}{'users':>7}{'offered/s':>11}{'answered/s':>12}{'failed':>8}{'p50 ms':>8}"
    f"{'p99 ms':>8}{'CPU':>6}{'replicas':>10}{'nodes':>7}"
)
ROWS = 12
QUIET_SECONDS = 10.0
CLEAR_LINE = "\x1b[2K"


def line(sample: Sample) -> str:
    """One row of the table; replicas and nodes are running/wanted."""
    offered = "" if sample.offered_rps is None else f"{sample.offered_rps:.0f}"
    cpu = "" if sample.utilisation is None else f"{sample.utilisation:.0%}"
    return (
        f"{sample.seconds:>8.0f}{sample.users:>7}{offered:>11}{sample.rps:>12.0f}"
        f"{sample.failures:>8}{_number(sample.p50_ms):>8}{_number(sample.p99_ms):>8}{cpu:>6}"
        f"{_of(sample.replicas_running, sample.replicas_wanted):>10}"
        f"{_of(sample.nodes_running, sample.nodes_wanted):>7}"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _of(running: int | None, wanted: int | None) -> str:
    return "" if running is None else f"{running}/{wanted}"


class LiveTable:
    """Shows samples as they come: the last dozen on a terminal, one in ten seconds in a log."""

    def __init__(self, output: TextIO = sys.stdout) -> None:
        self._output = output
        self._moving = output.isatty()
        self._rows: deque[str] = deque(maxlen=ROWS)
        self._drawn = 0
        self._last = -QUIET_SECONDS

    def show(self, sample: Sample, waiting_for: str) -> None:
        """Show ``sample``, and what the run waits for."""
        if self._moving:
            self._rows.append(line(sample))
            lines = [HEADER, *self._rows, f"waiting for {waiting_for}"]
            up = f"\x1b[{self._drawn}A" if self._drawn else ""
            self._output.write(up + "".join(f"{CLEAR_LINE}{text}\n" for text in lines))
            self._drawn = len(lines)
        elif sample.seconds - self._last >= QUIET_SECONDS:
            if not self._drawn:
                self._output.write(f"{HEADER}\n")
                self._drawn = 1
            self._output.write(f"{line(sample)}   waiting for {waiting_for}\n")
            self._last = sample.seconds
        self._output.flush()
