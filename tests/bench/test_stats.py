"""Medians, ranges and ratios."""

from bench.stats import Spread, ratio


def test_spread_is_median_and_range() -> None:
    """A spread does not depend on the order of its values."""
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0)


def test_spread_of_nothing_is_none() -> None:
    """No measurement is not a measurement of 0."""
    assert Spread.of([]) is None


def test_ratio_pairs_rounds() -> None:
    """Values are divided within their round: a drift common to both cancels."""
    assert ratio({1: 10.0, 2: 100.0, 3: 7.0}, {1: 5.0, 2: 50.0}) == Spread(2.0, 2.0, 2.0)


def test_ratio_without_common_round_is_none() -> None:
    """Rounds that one of both lacks are not compared."""
    assert ratio({1: 1.0}, {2: 1.0}) is None
