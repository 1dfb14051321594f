"""What counts as the answer that a client expects."""

import asyncio
from typing import Any

import numpy as np
import pytest

from studies.clients.checks import LONGEST, Checks


def raising() -> Any:
    raise ValueError("[404] no model\nnobody")


async def later(ask: Any) -> Any:
    return ask()


@pytest.mark.parametrize(
    ("got", "expected", "passed"),
    [
        (np.array([b"red", b"blue"], dtype=object), ["red", "blue"], True),
        ([b"red"], ["blue"], False),
        (["red", "red"], ["red"], False),
        (np.array([[0.25, 0.75]]), [[0.25000001, 0.75]], True),
        ([0.25], [0.3], False),
        (1, True, False),
        (1, 1.0, False),
        (np.array([True]), [True], True),
        (None, [], False),
    ],
)
def test_an_answer_is_compared(got: Any, expected: Any, passed: bool) -> None:
    """Arrays and bytes as what they hold, numbers nearly, types exactly; both ways to ask."""
    checks = Checks("client")
    checks("now", lambda: got, expected)
    asyncio.run(checks.wait("later", later(lambda: got), expected))
    assert [each.passed for each in checks.found] == [passed, passed]
    assert all((str(expected) in each.saw) is not passed for each in checks.found if not passed)


def test_an_error_is_a_failed_check() -> None:
    """Whatever a client raises, the next call is made; the error is in one line."""
    checks = Checks("client")
    checks("now", raising, 1)
    asyncio.run(checks.wait("later", later(raising), 1))
    assert [(each.passed, each.saw) for each in checks.found] == [
        (False, "ValueError: [404] no model nobody")
    ] * 2


@pytest.mark.parametrize(
    ("ask", "passed"), [(raising, True), (lambda: 1, False), (lambda: int("nobody"), False)]
)
def test_a_refusal_is_an_error_with_the_words(ask: Any, passed: bool) -> None:
    """An answer is none, and neither is an error without the status."""
    checks = Checks("client")
    checks.refuses("now", ask, "[404]", "nobody")
    asyncio.run(checks.wait_refuses("later", later(ask), "[404]", "nobody"))
    assert [each.passed for each in checks.found] == [passed, passed]


def test_long_answers_are_shortened_and_long_failures_are_not() -> None:
    """A table of passed calls stays readable; of a failure all is wanted."""
    checks = Checks("client")
    checks("good", lambda: "x" * 1000, "x" * 1000)
    checks("bad", lambda: "x" * 1000, "y")
    good, bad = checks.found
    assert len(good.saw) <= LONGEST + 3
    assert "x" * 1000 in bad.saw
