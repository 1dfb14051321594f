"""How long the steps of a drain may take; tests compare them with the time-outs around them."""

from dataclasses import dataclass

COMMAND_SECONDS = 15
"""Longest run of one command of Ray."""


@dataclass(frozen=True)
class Waits:
    """Longest wait of each step, seconds."""

    notice: float = 20.0
    """Load balancers send requests for so long after the pod has begun to stop."""
    proxy: float = 15.0
    """Longer than any request."""
    node: int = 60
    """Serve starts replicas elsewhere first, then drains the replicas here."""

    @property
    def total(self) -> float:
        """All steps together, each at its longest."""
        return self.notice + self.proxy + COMMAND_SECONDS + self.node + COMMAND_SECONDS
