"""How a load test ended, beside its thresholds."""

import pytest

from loadtest.scale.record import find_abort


@pytest.mark.parametrize(
    ("exit_code", "broken", "aborted"),
    [
        (0, [], False),
        (1, ["3 of 36 requests failed"], False),
        (1, [], True),
        (-9, [], True),
        (-9, ["no request was answered"], True),
        (3, [], True),
    ],
)
def test_an_end_that_thresholds_do_not_explain(
    exit_code: int, broken: list[str], *, aborted: bool
) -> None:
    """Killed, or exceptions in users: a run must not pass, and the log is named."""
    found = find_abort(exit_code, broken)
    expected = [f"Locust ended with {exit_code}; locust.log says why"]
    assert found == (expected if aborted else [])
