"""When two forms of a model count as one: values that are equal, numbers that are near."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

PROBABILITY_TOLERANCE = 1e-5
"""Largest probability difference at which two forms of a model count as one.

Single precision keeps 24 bits (6e-8); a sum over some hundred trees or classes loses two decimal
digits of it, so 1e-5 separates rounding from another decision."""


class Tolerances(NamedTuple):
    """A number agrees if it differs by at most ``absolute + relative * |expected|``."""

    absolute: float
    relative: float = 0.0


class Comparison(NamedTuple):
    """How two predictions of the same rows differ."""

    disagreements: list[int]
    """Positions of the rows with another answer: another value, or a number beyond tolerance."""
    largest_difference: float
    """Largest absolute difference of any number; infinity where a number has no counterpart."""


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: 1, 1.0 and true are not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and type(one) is type(other)


def compare_numbers(
    found: list[Any] | None, expected: list[Any] | None, tolerances: Tolerances
) -> Comparison:
    """Compare lists with one number, or one list of numbers, for each row."""
    if found is None and expected is None:
        return Comparison([], 0.0)
    if found is None or expected is None:
        return Comparison(list(range(len(found or expected or ()))), math.inf)
    import numpy as np

    one, other = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if one.shape != other.shape:
        return Comparison(list(range(len(found))), math.inf)
    difference = np.abs(one - other).reshape(len(one), -1)
    allowed = tolerances.absolute + tolerances.relative * np.abs(other).reshape(len(one), -1)
    # Not "difference > allowed": NaN agrees with nothing.
    disagrees = ~(difference <= allowed).all(axis=1)
    return Comparison(np.flatnonzero(disagrees).tolist(), float(difference.max(initial=0.0)))


def flat(numbers: list[Any]) -> Iterable[float]:
    """The numbers of lists of any depth, one after the other."""
    for each in numbers:
        if isinstance(each, list):
            yield from flat(each)
        else:
            yield each


def floats(value: Any) -> list[float] | None:
    """A float, or a list of floats, as a list; None for anything else."""
    values = value if isinstance(value, list) else [value]
    return values if all(isinstance(each, float) for each in values) else None
