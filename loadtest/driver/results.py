"""What a load test found, from the CSV files of Locust, and what of it is not good enough."""

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

TOTAL = "Aggregated"
"""Locust's name for all requests together."""
SENT_AGAIN = "(connection closed while idle; sent again)"
"""The users' name for such requests."""
BY_VERSION = " by model "
"""The users' name for right answers is a path, this, and the version of the model."""
SHOWN_CAUSES = 5
LAST_LINES = 50
"""Enough for one second of the history, whose lines are one for each name of requests."""


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
    """Requests that met a closing connection and were sent again; both times are counted."""
    causes: Mapping[str, int] = field(default_factory=dict)
    """Failures by cause, such as ``status 503``."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """Right answers by the version of the model; during an upgrade more than one answers."""

    @property
    def answered_by_version(self) -> str:
        """The versions that answered, each with its number, the most frequent first."""
        found = Counter(self.versions).most_common()
        return ", ".join(f"{version} ({count:,} x)" for version, count in found)

    @property
    def failed_by_cause(self) -> str:
        """The most frequent causes, each with its number; empty if nothing failed."""
        found = Counter(self.causes).most_common()
        shown = [f"{count:,} x {cause}" for cause, count in found[:SHOWN_CAUSES]]
        if rest := sum(count for _, count in found[SHOWN_CAUSES:]):
            shown.append(f"{rest:,} x other causes")
        return ", ".join(shown)

    def __str__(self) -> str:
        return (
            f"{self.requests} requests, {self.failures} failed, {self.rps:.1f} requests/s, "
            f"p50 {self.p50_ms:.0f} ms, p99 {self.p99_ms:.0f} ms"
        )


@dataclass(frozen=True)
class Thresholds:
    """Limits; a limit of 0 on latency or rate is none."""

    max_failure_share: float = 0.0
    max_p99_ms: float = 0.0
    min_rps: float = 0.0

    def broken_by(self, load: LoadSummary) -> list[str]:
        """One sentence for each limit that ``load`` breaks."""
        if load.requests == 0:
            return ["no request was answered"]
        broken = []
        share = load.failures / load.requests
        if share > self.max_failure_share:
            broken.append(
                f"{load.failures} of {load.requests} requests failed ({share:.2%}); "
                f"at most {self.max_failure_share:.2%} may"
                + (f": {load.failed_by_cause}" if load.causes else "")
            )
        if self.max_p99_ms and load.p99_ms > self.max_p99_ms:
            broken.append(f"p99 is {load.p99_ms:.0f} ms; the limit is {self.max_p99_ms:.0f} ms")
        if self.min_rps and load.rps < self.min_rps:
            broken.append(
                f"{load.rps:.1f} requests/s were answered; at least {self.min_rps:.1f} must be"
            )
        return broken


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


def read_summary(prefix: Path) -> LoadSummary:
    """The whole run, from ``PREFIX_stats.csv``; no requests if there is no such file."""
    rows = _last_rows(prefix, "stats")
    if TOTAL not in rows:
        return LoadSummary()
    total = rows[TOTAL]
    return LoadSummary(
        requests=int(total["Request Count"]),
        failures=int(total["Failure Count"]),
        rps=float(total["Requests/s"]),
        p50_ms=_milliseconds(total["50%"]) or 0.0,
        p99_ms=_milliseconds(total["99%"]) or 0.0,
        sent_again=int(rows[SENT_AGAIN]["Request Count"]) if SENT_AGAIN in rows else 0,
        causes=_read_causes(prefix.with_name(f"{prefix.name}_failures.csv")),
        versions=count_versions({name: int(row["Request Count"]) for name, row in rows.items()}),
    )


def answered_by(version: str | None, path: str) -> str:
    """Name of the requests to ``path`` that a version of the model answered."""
    return f"{path}{BY_VERSION}{version}"


def count_versions(requests: Mapping[str, int]) -> dict[str, int]:
    """Right answers by version, from the requests by name."""
    counts: Counter[str] = Counter()
    for name, count in requests.items():
        _, found, version = name.partition(BY_VERSION)
        if found:
            counts[version] += count
    return dict(counts)


def cause_of(error: str) -> str:
    """Why a request failed, from Locust's text, which wraps the reason of a failed check."""
    return re.sub(r"""^CatchResponseError\((['"])(.*)\1\)$""", r"\2", error, flags=re.DOTALL)


def _read_causes(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    causes: Counter[str] = Counter()
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            causes[cause_of(row["Error"])] += int(row["Occurrences"])
    return dict(causes)


def read_latest(prefix: Path) -> Moment | None:
    """The newest line on all requests of ``PREFIX_stats_history.csv``, or None before the first.

    ``locust --csv PREFIX --csv-full-history`` writes that file.
    """
    total = _last_rows(prefix, "stats_history").get(TOTAL)
    if total is None:
        return None
    return Moment(
        timestamp=int(total["Timestamp"]),
        users=int(total["User Count"]),
        requests=int(total["Total Request Count"]),
        failures=int(total["Total Failure Count"]),
        p50_ms=_milliseconds(total["50%"]),
        p95_ms=_milliseconds(total["95%"]),
        p99_ms=_milliseconds(total["99%"]),
    )


def _last_rows(prefix: Path, name: str) -> dict[str, dict[str, str]]:
    """The last row of each name in ``PREFIX_NAME.csv``, of those that are written to their end."""
    path = prefix.with_name(f"{prefix.name}_{name}.csv")
    if not path.is_file():
        return {}
    header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    whole = [line for line in lines[-LAST_LINES:] if line.endswith("\n")]
    return {row["Name"]: row for row in csv.DictReader([header, *whole])}


def _milliseconds(text: str) -> float | None:
    return None if text in ("", "N/A") else float(text)
