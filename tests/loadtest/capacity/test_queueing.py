"""Queueing formulas give the published numbers, and obey the laws they must obey."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.capacity.queueing import erlang_c, mean_wait, response_quantile

servers = st.integers(1, 2000)
utilisations = st.floats(0.01, 0.99)
shares = st.floats(0.5, 0.999)
times = st.just(0.0) | st.floats(1e-3, 10)


@pytest.mark.parametrize(
    ("count", "waits", "mean"),
    [(1, 0.90, 9.00), (2, 0.85, 4.26), (5, 0.76, 1.53), (10, 0.67, 0.67), (20, 0.55, 0.28)],
)
def test_published_table(count: int, waits: float, mean: float) -> None:
    """Adan and Resing, Queueing Systems (2015), table 5.1: M/M/c at 90 %, service time 1."""
    assert erlang_c(count, 0.9 * count) == pytest.approx(waits, abs=0.005)
    assert mean_wait(count, 0.9 * count, 1.0) == pytest.approx(mean, abs=0.006)


@pytest.mark.parametrize(("count", "load"), [(1, 0.3), (3, 2.0), (8, 7.5)])
def test_equals_the_textbook_sum(count: int, load: float) -> None:
    """The recursion equals Erlang's formula with its factorials."""
    tail = load**count / math.factorial(count) * count / (count - load)
    whole = sum(load**k / math.factorial(k) for k in range(count)) + tail
    assert erlang_c(count, load) == pytest.approx(tail / whole)


@given(utilisations)
def test_one_server_with_constant_service(utilisation: float) -> None:
    """M/D/1 has half the mean wait of M/M/1: Pollaczek and Khinchine."""
    expected = utilisation / (2 * (1 - utilisation))
    assert mean_wait(1, utilisation, 1.0, variability=0.5) == pytest.approx(expected)


@given(servers, utilisations)
def test_is_a_probability(count: int, utilisation: float) -> None:
    """From 0 to 1, and never more than the utilisation, which one server has."""
    assert 0 <= erlang_c(count, count * utilisation) <= utilisation + 1e-12


@given(servers, utilisations)
def test_pooling_helps(count: int, utilisation: float) -> None:
    """As busy as before, twice the servers wait less: why one large service beats two small."""
    assert mean_wait(2 * count, 2 * count * utilisation, 1.0) <= mean_wait(
        count, count * utilisation, 1.0
    )


@given(servers, utilisations, utilisations)
def test_more_load_waits_longer(count: int, one: float, other: float) -> None:
    """The mean wait never falls with the rate."""
    low, high = sorted((one, other))
    assert mean_wait(count, count * low, 1.0) <= mean_wait(count, count * high, 1.0) * (1 + 1e-9)


@given(utilisations, shares)
def test_response_time_of_one_server(utilisation: float, share: float) -> None:
    """M/M/1's response time is exponential with rate mu - lambda: the textbook's result."""
    found = response_quantile(
        share, fixed=0.0, variable=1.0, waits=utilisation, mean_of_waiting=1 / (1 - utilisation)
    )
    assert found == pytest.approx(-math.log(1 - share) / (1 - utilisation), rel=1e-6)


@given(shares, times, times, st.floats(0, 1), times)
def test_response_time_has_its_bounds(
    share: float, fixed: float, variable: float, waits: float, mean_of_waiting: float
) -> None:
    """Never less than without a wait, never more than both parts at half the share each."""
    alone = response_quantile(share, fixed=fixed, variable=variable)
    found = response_quantile(
        share, fixed=fixed, variable=variable, waits=waits, mean_of_waiting=mean_of_waiting
    )
    assert alone == pytest.approx(fixed - variable * math.log(1 - share), rel=1e-6)
    half = -math.log((1 - share) / 2)
    most = fixed + (variable + mean_of_waiting) * half
    assert alone * (1 - 1e-6) <= found <= most * (1 + 1e-6)


def test_constant_times_without_a_wait() -> None:
    """What never changes and never waits is its own quantile."""
    assert response_quantile(0.99, fixed=7.0, variable=0.0) == 7.0


@pytest.mark.parametrize(("count", "load"), [(2, 2.0), (2, 3.0), (0, 0.0), (2, -1.0)])
def test_refuses_what_has_no_steady_state(count: int, load: float) -> None:
    """Servers that cannot carry the load are an error, not a number."""
    with pytest.raises(ValueError, match="cannot carry"):
        erlang_c(count, load)
