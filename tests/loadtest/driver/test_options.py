"""The load test's own options: defaults that work, and values that cannot."""

import argparse

import pytest

from loadtest.driver.options import add_options, find_problem


def parsed(*arguments: str, users: int = 10) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return argparse.Namespace(**vars(parser.parse_args(arguments)), num_users=users)


def test_the_defaults_work() -> None:
    """Nothing has to be given; then no request may fail."""
    options = parsed()
    assert find_problem(options) is None
    assert (options.scenario, options.max_failure_share) == ("baseline", 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--user-rate", "0"),
        ("--user-rate", "nan"),
        ("--user-rate", "inf"),
        ("--max-p99-ms", "nan"),
        ("--max-p99-ms", "-1"),
        ("--min-rps", "inf"),
        ("--traceparent-share", "1.5"),
        ("--max-failure-share", "-0.1"),
        ("--curve-replicas", "0"),
    ],
)
def test_impossible_values_are_named(arguments: tuple[str, str]) -> None:
    """The option, its value, and what would be right."""
    problem = find_problem(parsed(*arguments))
    assert problem is not None
    assert problem.startswith(arguments[0])
    assert arguments[1] in problem


def test_a_curve_needs_a_fixed_rate() -> None:
    """Users who think offer no rate that a row of the curve could name."""
    assert find_problem(parsed("--scenario", "steps", "--curve", "c.csv")) is None
    problem = find_problem(parsed("--scenario", "baseline", "--curve", "c.csv"))
    assert problem is not None
    assert "--curve c.csv: users of baseline" in problem
    assert "--scenario steps" in problem


def test_no_users() -> None:
    """Zero users would be a load test that tests nothing."""
    assert find_problem(parsed(users=0)) == "--users 0: a load test needs at least one user"
