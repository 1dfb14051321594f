"""What was measured, with medians, ranges and ratios over rounds."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Measurement:
    """What was measured of one system in one round."""

    measure: str
    system: str
    round: int
    values: dict[str, float]


def by_round(
    measurements: Iterable[Measurement], measure: str, system: str, field: str
) -> dict[int, float]:
    """Values of one quantity, by round; older runs lack some."""
    return {
        each.round: each.values[field]
        for each in measurements
        if (each.measure, each.system) == (measure, system) and field in each.values
    }


@dataclass(frozen=True)
class Spread:
    """Median and range of one quantity over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """Spread of some values; None if there is none."""
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1]) if ordered else None

    def __str__(self) -> str:
        low, median, high = map(_three_digits, (self.low, self.median, self.high))
        return f"{median} ({low} to {high})"


def ratio(numerator: Mapping[int, float], denominator: Mapping[int, float]) -> Spread | None:
    """Spread of the ratios within each round; both map round to value. None if no round has both.

    Only values of the same round are compared, because a machine drifts between rounds.
    """
    return Spread.of(
        value / denominator[number]
        for number, value in numerator.items()
        if denominator.get(number, 0) > 0
    )


def _three_digits(value: float) -> str:
    """Three digits, and all of those before the point."""
    return f"{value:,.{max(3 - len(str(int(value))), 0)}f}"
