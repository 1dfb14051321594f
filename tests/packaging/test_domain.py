"""What an estimator answers is found out by asking it, row by row where it must be."""

import time
from typing import Any

import numpy as np
import pytest

from serve_app.model.features import Category, Feature
from serve_app.model.prediction import Prediction
from serve_app.packaging.domain import (
    Trial,
    answered,
    outside_values,
    try_all,
    unseen_value,
)


def positive(rows: Any) -> Prediction:
    """Answers with the sum of each row; refuses what is below 0."""
    if (rows < 0).any():
        raise ValueError("below 0")
    return Prediction(rows.sum(axis=1).tolist())


def test_rows_without_an_answer_are_left_out() -> None:
    """All others are kept, in their order, with their answers."""
    rows = np.arange(-5, 2_500, dtype=np.float64)[:, np.newaxis]
    found = answered(positive, rows)
    assert found.rows[:, 0].tolist() == found.prediction.values == list(range(2_500))
    assert (found.refused, found.error) == (5, "ValueError: below 0")


def test_of_too_many_refusals_not_every_row_is_asked_for() -> None:
    """An estimator that refuses almost everything is not asked for ever."""
    found = answered(positive, -np.ones((2_000, 1)), most_refused=20)
    assert (len(found.rows), found.refused) == (0, 2_000)


def test_after_the_deadline_nothing_is_asked_for() -> None:
    """What was not asked for was not refused."""
    found = answered(positive, np.ones((10, 1)), deadline=time.process_time() - 1)
    assert (len(found.rows), found.refused) == (0, 0)


def test_trials_are_told_apart() -> None:
    """Those that are refused come with what was said; the others are answered."""
    rows = np.ones((5, 3))
    trials = [Trial(0, -1.0), Trial(0, 7.0), Trial(1, -2.0), Trial(2, 0.0)]
    outcomes = try_all(positive, rows, trials)
    assert [each.answered for each in outcomes] == [False, True, False, True]
    assert outcomes[0].error == "ValueError: below 0"
    assert (rows == 1).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("basic", "pro"), "unseen"),
        (("unseen", "x"), ""),
        ((1, 2), 3),
        ((0.5, 1.5), 2.5),
        ((True, False), None),
    ],
)
def test_an_unseen_value_has_the_type_of_the_others(values: Any, expected: Any) -> None:
    """And is none of them."""
    categories = tuple(Category(value=value) for value in values)
    assert unseen_value(Feature(name="a", kind="category", categories=categories)) == expected


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (Feature(name="a", minimum=0, maximum=10), (-1, 11)),
        (Feature(name="a", minimum=5, maximum=5), (0, 10)),
        (Feature(name="a", kind="integer", minimum=0, maximum=3), (-1, 4)),
        (Feature(name="a", kind="text"), ()),
    ],
)
def test_numbers_outside_of_a_range_are_near(feature: Feature, expected: Any) -> None:
    """A tenth of the range, or for a constant its own size."""
    assert outside_values(feature) == expected
