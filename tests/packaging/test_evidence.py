"""Rows to compare are where two forms could part, within what the estimator answers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from serve_app.model.features import Category, Feature
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Rows
from serve_app.model.tasks import Classification, Regression
from serve_app.packaging.boundary import WIDTH
from serve_app.packaging.coverage import MINIMUM_ROWS
from serve_app.packaging.evidence import MIXED_ROWS, gather

TASK = Classification(
    classes=("high", "low"), has_probabilities=False, labels_follow_probabilities=False
)
NUMBERS = tuple(Feature(name=name, minimum=0, maximum=10) for name in "ab")
REAL = np.random.default_rng(1).uniform(0, 10, size=(300, 2))


def above_four(rows: Rows) -> Prediction:
    """``high`` where the first column is above 4."""
    return Prediction(["high" if row[0] > 4 else "low" for row in rows])


def refusing(refused: Callable[[Any], bool]) -> Callable[[Rows], Prediction]:
    """Answers as `above_four`, and raises for rows where ``refused`` is true of a cell."""

    def ask(rows: Rows) -> Prediction:
        if any(refused(cell) for row in rows.tolist() for cell in row):
            raise ValueError("not in the domain")
        return above_four(rows)

    return ask


def category(name: str, *values: Any, **facts: Any) -> Feature:
    known = tuple(Category(value=value) for value in values)
    return Feature(name=name, kind="category", categories=known, **facts)


def test_rows_are_real_mixed_and_a_little_outside() -> None:
    """Training rows are among them; numbers reach beyond the range where they are answered."""
    evidence = gather(above_four, NUMBERS, TASK, REAL)
    found = {tuple(row) for row in evidence.rows.tolist()}
    assert found >= set(map(tuple, REAL.tolist()))
    assert -1 <= evidence.rows.min() < 0
    assert 10 < evidence.rows.max() <= 11
    assert evidence.coverage.training_rows == len(REAL)
    assert evidence.coverage.distinct_rows == len(found) >= 2 * MIXED_ROWS
    assert evidence.coverage.varying_features == 1
    assert evidence.expected == above_four(evidence.rows)
    assert evidence.gap is None


def test_nothing_is_asked_of_a_value_that_is_refused() -> None:
    """An estimator of positive numbers is compared on positive numbers, and only just so."""
    evidence = gather(refusing(lambda cell: cell < 0), NUMBERS, TASK, REAL)
    assert evidence.rows.min() >= 0
    assert evidence.rows.max() > 10
    assert evidence.gap is None


def test_codes_and_categories_are_those_that_were_seen() -> None:
    """No row has code 2.5; integers between observed ones are asked for."""
    features = (category("code", 1, 2, 4), Feature(name="n", kind="integer", minimum=0, maximum=9))
    real = np.array([[1, 0], [2, 9], [4, 5]] * 100, dtype=np.float64)
    evidence = gather(refusing(lambda cell: cell != int(cell)), features, TASK, real)
    assert set(evidence.rows[:, 0]) == {1, 2, 4, 5}
    assert set(range(10)) < set(evidence.rows[:, 1])
    assert evidence.refused == 0


def test_gaps_and_unseen_categories_are_compared_where_they_are_allowed() -> None:
    """Values of object rows are those that requests have: integers, strings, None."""
    plan = category("plan", "basic", "pro", unseen_allowed=True)
    count = Feature(name="n", kind="integer", minimum=0, maximum=9, nullable=True)
    real = np.array([["basic", 3], ["pro", None], ["pro", 7]] * 100, dtype=object)

    def by_plan(rows: Rows) -> Prediction:
        if any(isinstance(cell, float) for cell in rows[:, 1]):
            raise TypeError("counts are integers")
        return Prediction(["high" if row[0] == "pro" else "low" for row in rows])

    evidence = gather(by_plan, (plan, count), TASK, real)
    assert set(evidence.rows[:, 0]) == {"basic", "pro", "unseen"}
    assert {type(cell) for cell in evidence.rows[:, 1]} == {int, type(None)}
    forbidding = plan.model_copy(update={"unseen_allowed": False})
    rows = gather(by_plan, (forbidding, count), TASK, real).rows
    assert set(rows[:, 0]) == {"basic", "pro"}


def test_texts_are_mixed_and_odd() -> None:
    """Tokenisers differ on accents, punctuation and what is empty."""
    real = np.array([["a good film"], ["a bad book"]] * 100, dtype=object)
    evidence = gather(
        lambda rows: Prediction(["high" if "good" in row[0] else "low" for row in rows]),
        (Feature(name="text", kind="text"),),
        TASK,
        real,
    )
    texts = set(evidence.rows[:, 0])
    assert {"a good film", "", "don't stop"} < texts
    assert any("good" in text and "book" in text for text in texts)


def test_thresholds_are_met_exactly_and_on_both_sides() -> None:
    """In units of the last place of double and of single precision; integers around them."""
    features = (*NUMBERS, Feature(name="n", kind="integer", minimum=0, maximum=9))
    real = np.column_stack([REAL, np.arange(len(REAL)) % 10])
    thresholds = {0: np.array([4.1]), 2: np.array([3.5])}
    evidence = gather(above_four, features, TASK, real, thresholds=thresholds)
    single = np.float32(4.1)
    expected = {
        4.1,
        np.nextafter(4.1, 9),
        np.nextafter(4.1, 0),
        *(float(each) for each in (single, np.nextafter(single, np.float32(9)))),
    }
    assert expected < set(evidence.rows[:, 0].tolist())
    assert not {3.5, np.nextafter(3.5, 9)} & set(evidence.rows[:, 2].tolist())
    assert (evidence.coverage.thresholds_probed, evidence.coverage.thresholds) == (2, 2)


def test_numbers_of_the_training_data_are_met_like_thresholds() -> None:
    """A step may part at one of them, or at zero: both sides of it are compared."""
    real = np.column_stack([np.linspace(-5, 5, 300), REAL[:, 1]])
    found = set(gather(above_four, NUMBERS, TASK, real).rows[:, 0].tolist())
    for number in (-5.0, 0.0, 5.0):
        assert {np.nextafter(number, -9), number, np.nextafter(number, 9)} < found


def test_of_many_thresholds_a_stated_number_is_probed() -> None:
    """Evenly spread; the card says how many of how many."""
    thresholds = {0: np.linspace(0, 10, 5_001)}
    coverage = gather(above_four, NUMBERS, TASK, REAL, thresholds=thresholds).coverage
    assert coverage.thresholds == 5_001
    assert 1_000 < coverage.thresholds_probed < 2_100


def test_rows_on_both_sides_of_a_boundary_are_compared() -> None:
    """Pairs of rows almost touch the decision boundary, one in each class."""
    evidence = gather(above_four, NUMBERS, TASK, REAL)
    pairs = evidence.coverage.boundary_pairs
    assert pairs > 30
    left, right = evidence.rows[-2 * pairs : -pairs], evidence.rows[-pairs:]
    assert (np.abs(left - right) <= 10 * WIDTH).all()
    assert ((left[:, 0] > 4) != (right[:, 0] > 4)).all()


def test_a_regression_has_no_boundaries() -> None:
    """Numbers differ everywhere."""
    evidence = gather(
        lambda rows: Prediction([[float(row[0])] for row in rows]),
        NUMBERS,
        Regression(targets=("target",)),
        REAL,
    )
    assert evidence.coverage.boundary_pairs == 0
    assert evidence.gap is None


def test_without_training_rows_the_ranges_are_sampled() -> None:
    """Every kind of column has made values."""
    features = (
        *NUMBERS,
        Feature(name="n", kind="integer", minimum=0, maximum=9),
        Feature(name="b", kind="boolean"),
        category("c", "x", "y"),
        Feature(name="t", kind="text"),
        Feature(name="d", kind="datetime"),
    )
    evidence = gather(above_four, features, TASK, None)
    kinds = [{type(cell) for cell in column} - {type(None)} for column in evidence.rows.T]
    assert kinds == [{float}, {float}, {int}, {bool}, {str}, {str}, {str}]
    assert evidence.coverage.training_rows == 0
    assert evidence.gap is None


@pytest.mark.parametrize(
    ("features", "rows", "message"),
    [
        (NUMBERS, REAL[:1], "only 0 of 2 columns vary"),
        (NUMBERS, np.repeat(REAL[:1], 50, axis=0), "only 0 of 2 columns vary"),
        (
            [Feature(name=name, minimum=1, maximum=1) for name in "ab"],
            None,
            "only 0 of 2 columns vary",
        ),
        ((Feature(name="a", minimum=0, maximum=3),), REAL[:, :1] * 0.3, "gives one answer to all"),
    ],
)
def test_a_degenerate_comparison_proves_nothing(
    features: Sequence[Feature], rows: Any, message: str
) -> None:
    """One row, constant columns, a box of width 0, one answer: the gap says which."""
    gap = gather(above_four, features, TASK, rows).gap
    assert gap is not None
    assert message in gap


def test_too_few_rows_prove_nothing() -> None:
    """An estimator that refuses all but its training rows is compared on too few."""
    known = {tuple(row) for row in REAL.tolist()}

    def ask(rows: Rows) -> Prediction:
        if not known.issuperset(map(tuple, rows.tolist())):
            raise ValueError("never seen")
        return above_four(rows)

    evidence = gather(ask, NUMBERS, TASK, REAL)
    assert evidence.coverage.distinct_rows == len(REAL) < MINIMUM_ROWS
    assert evidence.gap is not None
    assert "only 300 different rows could be compared of 1,000" in evidence.gap


def test_a_small_domain_is_compared_as_a_whole() -> None:
    """Two booleans make four requests, and that is all there is to prove."""
    features = (Feature(name="a", kind="boolean"), Feature(name="b", kind="boolean"))
    rows = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float64) * 5
    evidence = gather(above_four, features, TASK, rows)
    assert evidence.coverage.distinct_rows == 4
    assert evidence.gap is None
