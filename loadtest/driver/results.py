"""Reads the history that Locust writes, while it writes it."""

import csv
from dataclasses import dataclass
from pathlib import Path

from loadtest.driver.thresholds import Outcome

TOTAL = "Aggregated"
"""Locust's name for all requests together."""
SENT_AGAIN = "(connection closed while idle; sent again)"
"""The locustfile's name for them."""


@dataclass(frozen=True)
class Moment:
    """The last second that Locust has written."""

    timestamp: int
    """Seconds since the epoch."""
    users: int
    requests: int
    failures: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    """Over the last ten seconds."""


class History:
    """Follows ``PREFIX_stats_history.csv`` of ``locust --csv PREFIX --csv-full-history``."""

    def __init__(self, prefix: Path) -> None:
        self._path = prefix.with_name(f"{prefix.name}_stats_history.csv")
        self._position = 0
        self._unfinished = ""
        self._columns: list[str] = []
        self._last: Moment | None = None

    def latest(self) -> Moment | None:
        """The newest whole line on all requests, or None before the first."""
        try:
            with self._path.open(encoding="utf-8", newline="") as file:
                file.seek(self._position)
                text = self._unfinished + file.read()
                self._position = file.tell()
        except FileNotFoundError:
            return None
        whole, _, self._unfinished = text.rpartition("\n")
        for row in csv.reader(whole.splitlines()):
            if not self._columns:
                self._columns = row
            elif row:
                self._take(dict(zip(self._columns, row, strict=True)))
        return self._last

    def _take(self, row: dict[str, str]) -> None:
        if row["Name"] != TOTAL:
            return
        self._last = Moment(
            timestamp=int(row["Timestamp"]),
            users=int(row["User Count"]),
            requests=int(row["Total Request Count"]),
            failures=int(row["Total Failure Count"]),
            p50_ms=_milliseconds(row["50%"]),
            p95_ms=_milliseconds(row["95%"]),
            p99_ms=_milliseconds(row["99%"]),
        )


def _milliseconds(text: str) -> float | None:
    return None if text in ("", "N/A") else float(text)


def count_sent_again(prefix: Path) -> int:
    """Requests that met a closing connection and were sent again, over the whole run."""
    path = prefix.with_name(f"{prefix.name}_stats.csv")
    with path.open(encoding="utf-8", newline="") as file:
        counts = [int(r["Request Count"]) for r in csv.DictReader(file) if r["Name"] == SENT_AGAIN]
    return sum(counts)


def read_outcome(prefix: Path) -> Outcome:
    """The whole run, from Locust's ``PREFIX_stats.csv``; no requests if there is no such file."""
    path = prefix.with_name(f"{prefix.name}_stats.csv")
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["Name"] == TOTAL:
                    return Outcome(
                        requests=int(row["Request Count"]),
                        failures=int(row["Failure Count"]),
                        rps=float(row["Requests/s"]),
                        p50_ms=_milliseconds(row["50%"]) or 0.0,
                        p99_ms=_milliseconds(row["99%"]) or 0.0,
                    )
    return Outcome(requests=0, failures=0, rps=0.0, p50_ms=0.0, p99_ms=0.0)
