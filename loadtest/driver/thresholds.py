"""What a load test must not break, and which of it was broken."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """A whole load test in five numbers."""

    requests: int
    failures: int
    """Requests without an answer, or with a wrong one."""
    rps: float
    """Answers per second, right or wrong."""
    p50_ms: float
    p99_ms: float

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

    def broken_by(self, outcome: Outcome) -> list[str]:
        """One sentence for each limit that ``outcome`` breaks."""
        if outcome.requests == 0:
            return ["no request was answered"]
        broken = []
        share = outcome.failures / outcome.requests
        if share > self.max_failure_share:
            broken.append(
                f"{outcome.failures} of {outcome.requests} requests failed ({share:.2%}); "
                f"at most {self.max_failure_share:.2%} may"
            )
        if self.max_p99_ms and outcome.p99_ms > self.max_p99_ms:
            broken.append(f"p99 is {outcome.p99_ms:.0f} ms; the limit is {self.max_p99_ms:.0f} ms")
        if self.min_rps and outcome.rps < self.min_rps:
            broken.append(
                f"{outcome.rps:.1f} requests/s were answered; at least {self.min_rps:.1f} must be"
            )
        return broken
