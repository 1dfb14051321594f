"""The saturation curve: what each step of a staged ramp offered, and what came back.

The one file contract between the load test that measures and the capacity plan that reads.
"""

import csv
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve_app.errors import UserError, first_error


class Step(BaseModel):
    """One step: a constant offered rate, held until latencies are steady. A row of the CSV file."""

    # Further columns, such as notes, do no harm.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    replicas: int = Field(ge=1)
    """Replicas that shared the load."""

    seconds: float = Field(gt=0)
    """Length of the step."""

    offered_rps: float = Field(gt=0)
    """Requests per second that the clients meant to send."""

    achieved_rps: float = Field(ge=0)
    """Right answers per second."""

    p50_ms: float = Field(ge=0)
    p95_ms: float = Field(ge=0)
    p99_ms: float = Field(ge=0)
    """Response time that this share of the requests did not exceed, milliseconds."""

    failures: int = Field(ge=0)
    """Requests with a wrong answer, or none."""


def write_curve(path: Path, steps: Iterable[Step]) -> None:
    """Write ``steps`` as CSV, one row each, under a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(Step.model_fields))
        writer.writeheader()
        writer.writerows(step.model_dump() for step in steps)


def read_curve(path: Path) -> tuple[Step, ...]:
    """Read what `write_curve` wrote, sorted by offered rate.

    Raises:
        UserError: no such file, no step in it, or a row that is not a `Step`.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a saturation curve: {error}") from error
    steps = []
    for number, row in enumerate(rows, start=2):
        try:
            steps.append(Step.model_validate(row))
        except ValidationError as error:
            raise UserError(
                f"{path}, line {number}, column {first_error(error)}; columns are "
                f"{', '.join(Step.model_fields)}"
            ) from error
    if not steps:
        raise UserError(f"{path} holds no step; measure one with the steps scenario")
    return tuple(sorted(steps, key=lambda step: step.offered_rps))
