"""The contestants: what is asked of each, and whether it answers rightly."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.dialects import Dialect, OwnDialect
from bench.load import LoadResult
from bench.messages import NoAnswerError, Request
from bench.models import AT_EVERY_LOAD, BATCH_ROWS, BenchModel
from serve_app.errors import UserError
from serve_app.runtime.processes import Command

TOLERANCE = 1e-3
OWN = OwnDialect()


class WrongAnswerError(UserError):
    """A contestant that does not answer, or not as the estimator does."""


@dataclass(frozen=True)
class Contestant:
    """A system under load, in a process that runs."""

    name: str
    url: str
    """Address without the path of the endpoint."""
    model: BenchModel
    process: Command | None = None
    """With its descendants, all that the system runs in."""
    batches: bool = False
    """Its batches are measured."""
    dialect: Dialect = OWN
    application: str | None = None
    """In Ray, if the contestant has another name."""
    grpc_port: int | None = None
    """Of its gRPC server, if it has one."""

    @property
    def at_every_load(self) -> bool:
        """Whether it is measured at every number of connections."""
        return self.dialect is OWN and self.model.name in AT_EVERY_LOAD

    def tree(self) -> list[psutil.Process]:
        """The processes that it runs in."""
        return self.process.tree() if self.process else []

    def request(self, rows: int = 1) -> Request:
        """A request for the sample, or for it and more rows."""
        some = self.model.instances
        instances = (some * (1 + rows // len(some)))[:rows]
        return self.dialect.request(self.model, instances, self.url)

    def ask(self, rows: int = 1) -> list[dict[str, Any]]:
        """Class and probabilities of each row.

        Raises:
            WrongAnswerError: no answer, a refusal, or another form of answer.
        """
        request = self.request(rows)
        try:
            answer = self.dialect.transport.exchange(request)
            found = self.dialect.answers(self.model, answer)
        except NoAnswerError as error:
            raise WrongAnswerError(f"{self.name} {error}") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise WrongAnswerError(
                f"{self.name} does not answer {request.url}: {error!r}"
            ) from error
        if len(found) != rows:
            raise WrongAnswerError(f"{self.name} answered {len(found)} of {rows} rows")
        return found

    def closed_loop(
        self, rows: int, *, connections: int, seconds: int, scratch: Path
    ) -> LoadResult:
        """Load it with requests for so many rows; see `Transport.closed_loop`."""
        return self.dialect.transport.closed_loop(
            self.request(rows), connections=connections, seconds=seconds, scratch=scratch
        )

    def is_ready(self) -> bool:
        """Whether the sample is answered."""
        try:
            self.ask()
        except WrongAnswerError:
            return False
        return True

    def check(self) -> None:
        """Compare the answers to the sample, alone and in a batch, with the estimator's own.

        Raises:
            WrongAnswerError: no answer or a wrong one; the speed of that is of no interest.
        """
        for rows in (1, BATCH_ROWS) if self.batches else (1,):
            for found, expected in zip(self.ask(rows), self.model.answers, strict=False):
                if not _agree(found, expected):
                    raise WrongAnswerError(f"{self.name} answered {found}, not {expected}")


def _agree(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    wanted = expected["probabilities"]
    shown = found.get("probabilities") or {}
    return (
        found.get("predicted_class") == expected["predicted_class"]
        and shown.keys() == wanted.keys()
        and all(abs(shown[label] - wanted[label]) <= TOLERANCE for label in wanted)
    )
