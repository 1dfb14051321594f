"""Steady predictions from beside the cluster, over connections that stay and over new ones."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from loadtest.driver.dialects import Grpc
from serve_app.client import ServiceClient
from serve_app.errors import CheckFailedError
from serve_app.model.card import ModelCard
from studies.drill_load import Load, Result, by_status, closing, post
from studies.grpc_load import GrpcLoad
from studies.steady_load import GOOD, Answer

ONE_OF = 5
"""Of so many requests one has a connection of its own, as clients of scripts do."""
CALLS = 0.25
"""Calls of gRPC for each request of HTTP."""


@dataclass
class Traffic:
    """Sends ``rate`` predictions/s, answered or not; a context manager.

    Args:
        url: where HTTP is answered.
        rate: requests/s.
        grpc: host and port of gRPC, for some calls beside them; empty for none.

    Raises:
        ServiceError: the service does not tell its card, whose sample is sent.
    """

    url: str
    rate: float
    grpc: str = ""
    _loads: Sequence[Load] = field(init=False)
    _calls: GrpcLoad | None = field(init=False, default=None)
    _running: ExitStack = field(init=False, default_factory=ExitStack)

    def __post_init__(self) -> None:
        with ServiceClient(self.url) as client:
            card = client.card()
        kept = post("/predict/", card.example)
        self._loads = (
            Load(self.url, kept, self.rate * (1 - 1 / ONE_OF)),
            Load(self.url, closing(kept), self.rate / ONE_OF),
        )
        if self.grpc:
            self._calls = steady_calls(card, self.grpc, self.rate)

    def __enter__(self) -> Self:
        """Begin to send."""
        for load in self._loads:
            self._running.enter_context(load)
        if self._calls is not None:
            self._running.enter_context(self._calls)
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
            for answer in sorted([*self.answers, *self.calls]):
                if answer.status != GOOD:
                    file.write(f"{answer.sent:.2f},{answer.answered:.2f},{answer.status}\n")

    @property
    def answers(self) -> list[Answer]:
        """What became of the requests so far."""
        return [answer for load in self._loads for answer in load.answers]

    @property
    def calls(self) -> list[Answer]:
        """What became of the calls of gRPC so far."""
        return list(self._calls.answers) if self._calls else []


def steady_calls(card: ModelCard, address: str, rate: float) -> GrpcLoad:
    """The calls of gRPC that belong to ``rate`` requests/s."""
    method, request = Grpc(card).request([card.example])
    return GrpcLoad(address, method, request, rate * CALLS, one_of=ONE_OF)


def require_no_failure(answers: Mapping[str, Sequence[Answer]]) -> str:
    """How many failed of what was sent, and the slowest answer, by the name of each kind.

    Raises:
        CheckFailedError: one did.
    """
    results = {name: Result.of(name, found, began=0) for name, found in answers.items()}
    said = "; ".join(
        f"{result.failed.total()} of {result.requests:,} {name} failed"
        + (f" ({by_status(result.failed)})" if result.failed else "")
        + f", slowest answer {result.slowest:.1f} s"
        for name, result in results.items()
    )
    if any(result.failed for result in results.values()):
        raise CheckFailedError(said)
    return said
