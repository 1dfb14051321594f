"""Steady predictions from beside the cluster, over connections that stay and over new ones."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from serve_app.client import ServiceClient
from studies.drill_load import GOOD, Answer, Load, closing, post

NEW_CONNECTIONS = 0.2
"""Share of the requests that have a connection of their own, as clients of scripts do."""


@dataclass
class Traffic:
    """Sends ``rate`` predictions/s, answered or not; a context manager.

    Raises:
        ServiceError: the service does not tell its card, whose sample is sent.
    """

    url: str
    rate: float
    _loads: Sequence[Load] = field(init=False)
    _running: ExitStack = field(init=False, default_factory=ExitStack)

    def __post_init__(self) -> None:
        with ServiceClient(self.url) as client:
            kept = post("/predict/", client.card().example)
        self._loads = (
            Load(self.url, kept, self.rate * (1 - NEW_CONNECTIONS)),
            Load(self.url, closing(kept), self.rate * NEW_CONNECTIONS),
        )

    def __enter__(self) -> Self:
        """Begin to send."""
        for load in self._loads:
            self._running.enter_context(load)
        return self

    def __exit__(self, *_error: object) -> None:
        """Send no more, and wait for the answers."""
        self._running.close()

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return self._loads[0].seconds

    def keep_failures(self, path: Path) -> None:
        """Write when each failed request was sent and answered, and its status, as CSV."""
        with path.open("w", encoding="utf-8") as file:
            file.write("sent,answered,status\n")
            for answer in sorted(self.answers):
                if answer.status != GOOD:
                    file.write(f"{answer.sent:.2f},{answer.answered:.2f},{answer.status}\n")

    @property
    def answers(self) -> list[Answer]:
        """What became of the requests so far."""
        return [answer for load in self._loads for answer in load.answers]
