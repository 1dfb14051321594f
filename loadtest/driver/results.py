"""The CSV files of Locust: the history while it grows, and the summary of the whole run."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOTAL = "Aggregated"
"""Locust's name for all requests together."""
SENT_AGAIN = "(connection closed while idle; sent again)"
"""The users' name for such requests."""


@dataclass(frozen=True)
class LoadSummary:
    """A whole load test."""

    requests: int = 0
    failures: int = 0
    """Requests without an answer, or with a wrong one."""
    rps: float = 0.0
    """Answers per second, right or wrong."""
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    sent_again: int = 0
    """Requests that met a closing connection and were sent again."""

    def __str__(self) -> str:
        return (
            f"{self.requests} requests, {self.failures} failed, {self.rps:.1f} requests/s, "
            f"p50 {self.p50_ms:.0f} ms, p99 {self.p99_ms:.0f} ms"
        )


def read_summary(prefix: Path) -> LoadSummary:
    """The whole run, from ``PREFIX_stats.csv``; no requests if there is no such file."""
    path = prefix.with_name(f"{prefix.name}_stats.csv")
    if not path.is_file():
        return LoadSummary()
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sent_again = sum(int(row["Request Count"]) for row in rows if row["Name"] == SENT_AGAIN)
    for row in rows:
        if row["Name"] == TOTAL:
            return LoadSummary(
                requests=int(row["Request Count"]),
                failures=int(row["Failure Count"]),
                rps=float(row["Requests/s"]),
                p50_ms=_milliseconds(row["50%"]) or 0.0,
                p99_ms=_milliseconds(row["99%"]) or 0.0,
                sent_again=sent_again,
            )
    return LoadSummary()


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
        for row in self._new_rows():
            if row["Name"] == TOTAL:
                self._last = Moment(
                    timestamp=int(row["Timestamp"]),
                    users=int(row["User Count"]),
                    requests=int(row["Total Request Count"]),
                    failures=int(row["Total Failure Count"]),
                    p50_ms=_milliseconds(row["50%"]),
                    p95_ms=_milliseconds(row["95%"]),
                    p99_ms=_milliseconds(row["99%"]),
                )
        return self._last

    def _new_rows(self) -> Iterator[dict[str, str]]:
        if not self._path.exists():
            return
        with self._path.open(encoding="utf-8", newline="") as file:
            file.seek(self._position)
            text = self._unfinished + file.read()
            self._position = file.tell()
        whole, _, self._unfinished = text.rpartition("\n")
        for row in csv.reader(whole.splitlines()):
            if not self._columns:
                self._columns = row
            elif row:
                yield dict(zip(self._columns, row, strict=True))


def _milliseconds(text: str) -> float | None:
    return None if text in ("", "N/A") else float(text)
