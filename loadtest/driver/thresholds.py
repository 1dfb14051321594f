"""What a load test must not break, and which of it was broken."""

from dataclasses import dataclass

from loadtest.driver.results import LoadSummary


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
            )
        if self.max_p99_ms and load.p99_ms > self.max_p99_ms:
            broken.append(f"p99 is {load.p99_ms:.0f} ms; the limit is {self.max_p99_ms:.0f} ms")
        if self.min_rps and load.rps < self.min_rps:
            broken.append(
                f"{load.rps:.1f} requests/s were answered; at least {self.min_rps:.1f} must be"
            )
        return broken
