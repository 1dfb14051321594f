"""The load test's own options: defaults that work, and values that cannot."""

import argparse

import pytest

from loadtest.driver.options import LOAD_OPTIONS, add_options, find_problem


def parsed(*arguments: str, users: int = 10) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return argparse.Namespace(**vars(parser.parse_args(arguments)), num_users=users)


def test_the_defaults_work() -> None:
    """Nothing has to be given; then no request may fail."""
    options = parsed()
    assert find_problem(options) is None
    assert (options.scenario, options.max_failure_share) == ("baseline", 0)
    assert {name: getattr(options, name) for name in LOAD_OPTIONS} == {
        name: option.default for name, option in LOAD_OPTIONS.items()
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--user-rate", "0"), "0 must be above 0"),
        (("--user-rate", "nan"), "nan must be above 0"),
        (("--user-rate", "inf"), "inf must be above 0"),
        (("--user-rate", "fast"), "'fast' is not a number"),
        (("--max-p99-ms", "-1"), "-1 must be at least 0"),
        (("--min-rps", "inf"), "inf must be at least 0"),
        (("--traceparent-share", "1.5"), "1.5 must be at least 0 and at most 1"),
        (("--max-failure-share", "-0.1"), "-0.1 must be at least 0 and at most 1"),
        (("--curve-replicas", "0"), "0 must be at least 1"),
        (("--scenario", "chaos"), "invalid choice: 'chaos'"),
    ],
)
def test_impossible_values_are_named(
    arguments: tuple[str, str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The option, its value, and its range."""
    with pytest.raises(SystemExit) as caught:
        parsed(f"{arguments[0]}={arguments[1]}")
    assert caught.value.code == 2
    assert f"argument {arguments[0]}: {reason}" in capsys.readouterr().err


def test_a_curve_needs_a_fixed_rate() -> None:
    """Users who wait offer no rate that a row of the curve could name."""
    assert find_problem(parsed("--scenario", "steps", "--curve", "c.csv")) is None
    problem = find_problem(parsed("--scenario", "baseline", "--curve", "c.csv"))
    assert problem is not None
    assert "--curve c.csv: users of baseline" in problem
    assert "the scenario steps" in problem


def test_no_users() -> None:
    """Zero users would be a load test that tests nothing."""
    assert find_problem(parsed(users=0)) == "--users 0: a load test needs at least one user"
