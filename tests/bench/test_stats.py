"""Medians, ranges, ratios and percentiles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import Spread, percentile, ratio


def test_spread_is_median_and_range() -> None:
    """A spread does not depend on the order of its values."""
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0)


def test_spread_of_nothing_is_refused() -> None:
    """No measurement is not a measurement of 0."""
    with pytest.raises(ValueError, match="at least one value"):
        Spread.of([])


def test_ratio_pairs_rounds() -> None:
    """Values are divided within their round: a drift common to both cancels."""
    assert ratio({1: 10.0, 2: 100.0, 3: 7.0}, {1: 5.0, 2: 50.0}) == Spread(2.0, 2.0, 2.0)


def test_ratio_without_common_round_is_none() -> None:
    """Rounds that one of both lacks are not compared."""
    assert ratio({1: 1.0}, {2: 1.0}) is None


@given(
    st.lists(st.floats(0, 1e6), min_size=1),
    st.floats(min_value=0, max_value=1, exclude_min=True),
)
def test_percentile_is_reached_by_its_share(values: list[float], share: float) -> None:
    """At least the share of values is at or below the percentile, and fewer are below it."""
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert sum(value <= found for value in ordered) >= share * len(ordered)
    assert sum(value < found for value in ordered) < share * len(ordered)
