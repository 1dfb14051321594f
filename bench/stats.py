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
    """Values of one quantity, by round."""
    return {
        each.round: each.values[field]
        for each in measurements
        if (each.measure, each.system) == (measure, system)
    }


@dataclass(frozen=True)
class Spread:
    """Median and range of one quantity over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Spread of at least one value.

        Raises:
            ValueError: there is no value.
        """
        ordered = sorted(values)
        if not ordered:
            raise ValueError("a spread needs at least one value")
        return cls(statistics.median(ordered), ordered[0], ordered[-1])


def ratio(numerator: Mapping[int, float], denominator: Mapping[int, float]) -> Spread | None:
    """Spread of the ratios within each round; both map round to value.

    Only values of the same round are compared, because a machine drifts between rounds.

    Returns:
        None if no round has both.
    """
    rounds = [number for number in numerator if number in denominator and denominator[number] > 0]
    if not rounds:
        return None
    return Spread.of(numerator[number] / denominator[number] for number in rounds)


def percentile(ordered: list[float], share: float) -> float:
    """Nearest-rank percentile of sorted values: the smallest that ``share`` of them reach.

    Raises:
        ValueError: there is no value, or ``share`` is not in (0, 1].
    """
    if not ordered or not 0 < share <= 1:
        raise ValueError(f"no percentile {share} of {len(ordered)} values")
    rank = -int(-share * len(ordered) // 1)
    return ordered[rank - 1]
