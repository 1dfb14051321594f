"""Steady predictions from beside the cluster, over connections that stay and over new ones."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from serve_app.client import ServiceClient
from studies.drill_load import GOOD, Answer, Load
from studies.drill_service import HEAD

NEW_CONNECTIONS = 0.2
"""Share of the requests that have a connection of their own, as clients of scripts do."""


def prediction(url: str) -> bytes:
    """A request for the sample of the model that a service has.

    Raises:
        ServiceError: it does not answer.
    """
    with ServiceClient(url) as client:
        body = json.dumps(client.card().example).encode()
    return b"%scontent-length: %d\r\n\r\n%s" % (HEAD, len(body), body)


@dataclass
class Traffic:
    """Sends ``rate`` requests/s, answered or not; a context manager."""

    url: str
    rate: float
    _loads: Sequence[Load] = field(init=False)
    _running: ExitStack = field(init=False, default_factory=ExitStack)

    def __post_init__(self) -> None:
        kept = prediction(self.url)
        fresh = kept.replace(b"\r\n", b"\r\nconnection: close\r\n", 1)
        self._loads = (
            Load(self.url, kept, self.rate * (1 - NEW_CONNECTIONS)),
            Load(self.url, fresh, self.rate * NEW_CONNECTIONS),
        )

    def __enter__(self) -> Self:
        """Begin to send."""
        for load in self._loads:
            self._running.enter_context(load)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
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
