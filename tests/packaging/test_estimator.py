"""An estimator is asked for its classes, its columns and first answers before it is packaged."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Perceptron

from serve_app.model.card import Feature
from serve_app.model.predictor import Prediction, SklearnPredictor
from serve_app.packaging.columns import PackagingError
from serve_app.packaging.estimator import (
    check_columns,
    classes_of,
    first_answer,
    labels_follow,
    sample_of,
)

ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
LABELS = np.array([0, 0, 1, 1])
FEATURES = tuple(Feature(name=name, minimum=0, maximum=3) for name in ("a", "b"))


@pytest.mark.parametrize(
    ("labels", "kind"),
    [(LABELS, int), (LABELS.astype(str), str), (LABELS.astype("U1").astype(object), str)],
)
def test_classes_are_plain_strings_or_integers(labels: Any, kind: type) -> None:
    """Labels of every NumPy type become the str or int that JSON writes."""
    classes = classes_of(LogisticRegression().fit(ROWS, labels))
    assert [type(label) for label in classes] == [kind, kind]
    assert [str(label) for label in classes] == ["0", "1"]


def test_columns_are_those_of_the_estimator_in_its_order() -> None:
    """Width and, where the estimator knows them, names must be the estimator's."""
    named = LogisticRegression().fit(pd.DataFrame(ROWS, columns=["a", "b"]), LABELS)
    check_columns(named, FEATURES, ROWS)
    with pytest.raises(PackagingError, match="in the order a, b"):
        check_columns(named, FEATURES[::-1], ROWS)
    with pytest.raises(PackagingError, match="training_data has 1"):
        check_columns(named, FEATURES, ROWS[:, :1])


def test_an_estimator_that_cannot_answer_an_array_is_refused() -> None:
    """The refusal tells what the estimator raised."""
    narrow = SklearnPredictor(Perceptron().fit(ROWS[:, :1], LABELS))
    with pytest.raises(PackagingError, match=r"plain array of 2 numbers \(ValueError: X has 2"):
        first_answer(narrow, FEATURES)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [([[0.9, 0.1], [0.2, 0.8]], True), ([[0.9, 0.1], [0.8, 0.2]], False), (None, False)],
)
def test_labels_follow_only_if_every_one_is_the_most_probable(
    probabilities: list[list[float]] | None, expected: bool
) -> None:
    """One label that is not, or no probabilities at all, and labels are kept."""
    assert labels_follow(Prediction([0, 1], probabilities), [0, 1]) is expected


def test_the_sample_is_a_training_row_or_the_middle() -> None:
    """The first training row if there is one, else the middle of each range, with its answer."""
    estimator = LogisticRegression().fit(ROWS, LABELS)
    reference = SklearnPredictor(estimator)
    assert sample_of(reference, FEATURES, (0, 1), ROWS).instance == {"a": 0, "b": 1}
    middle = sample_of(reference, FEATURES, (0, 1), None)
    assert middle.instance == {"a": 1.5, "b": 1.5}
    assert middle.predicted_class == estimator.predict([[1.5, 1.5]])[0]
    assert list(middle.probabilities or {}) == ["0", "1"]
