"""The task, its classes and its outputs follow from the estimator."""

from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serve_app.model.class_tasks import Output
from serve_app.model.tasks import (
    Classification,
    MultiOutput,
    OutlierDetection,
    PlainPrediction,
    Regression,
    Task,
)
from serve_app.packaging.outputs import task_of
from serve_app.packaging.tables import PackagingError
from tests.support.models import Untagged, classes

ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
LABELS = np.array([0, 0, 1, 1])


TWO = np.column_stack([LABELS, [0, 1, 2, 2]])


def task(estimator: Any, targets: Any = None) -> Task:
    """The task that is found for an estimator that answers `ROWS`."""
    return task_of(estimator, ROWS, np.asarray(estimator.predict(ROWS)), targets)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (LogisticRegression().fit(ROWS, LABELS), classes(0, 1)),
        (LogisticRegression().fit(ROWS, LABELS.astype(str)), classes("0", "1")),
        (LogisticRegression().fit(ROWS, LABELS > 0), classes(False, True)),
        (LogisticRegression().fit(ROWS, LABELS + 1.0), classes(1.0, 2.0)),
        (Perceptron().fit(ROWS, LABELS), classes(0, 1, has_probabilities=False)),
        (
            GridSearchCV(Perceptron(), {}, cv=2).fit(ROWS, LABELS),
            classes(0, 1, has_probabilities=False),
        ),
        (
            FixedThresholdClassifier(LogisticRegression(), threshold=0.9).fit(ROWS, LABELS),
            classes(0, 1),
        ),
        (Untagged(["x", "y", "x", "y"], ["x", "y"]), classes("x", "y", has_probabilities=False)),
        (
            RandomForestClassifier(2).fit(ROWS, TWO),
            MultiOutput(
                outputs=(
                    Output(name="output_0", classes=(0, 1)),
                    Output(name="output_1", classes=(0, 1, 2)),
                ),
                has_probabilities=True,
            ),
        ),
        (
            # It knows its classes as integers, and predicts floats.
            ClassifierChain(LogisticRegression()).fit(ROWS, LABELS[:, np.newaxis]),
            MultiOutput(
                outputs=(Output(name="output", classes=(0.0, 1.0)),), has_probabilities=True
            ),
        ),
        (
            OneVsRestClassifier(LogisticRegression()).fit(ROWS, TWO > 0),
            MultiOutput(
                outputs=tuple(Output(name=f"output_{at}", classes=(0, 1)) for at in range(2)),
                has_probabilities=True,
            ),
        ),
        (LinearRegression().fit(ROWS, LABELS), Regression(targets=("target",))),
        (LinearRegression().fit(ROWS, TWO), Regression(targets=("target_0", "target_1"))),
        (IsolationForest(n_estimators=2).fit(ROWS), OutlierDetection(has_score=True)),
        (make_pipeline(StandardScaler(), KMeans(2)).fit(ROWS), PlainPrediction()),
        (Untagged([1.5, 2.5, 3.5, 4.5]), PlainPrediction()),
    ],
)
def test_the_task_is_what_the_estimator_is(estimator: Any, expected: Task) -> None:
    """Classes are plain JSON of the type that predict returns; outputs have names."""
    found = task(estimator)
    assert found == expected
    if isinstance(found, Classification):
        assert [type(label) for label in found.classes] == [type(each) for each in expected.classes]  # type: ignore[union-attr]


class Scores(LogisticRegression):  # type: ignore[misc]
    """Gives each class a score of its own, as one against the rest does."""

    def predict_proba(self, rows: Any) -> Any:
        """Scores that do not add up to 1."""
        return super().predict_proba(rows) * 1.5


def test_scores_that_do_not_add_up_are_no_probabilities() -> None:
    """Its labels are served."""
    assert task(Scores().fit(ROWS, LABELS)) == Classification(
        classes=(0, 1), has_probabilities=False, labels_follow_probabilities=False
    )


def test_targets_have_the_names_that_a_user_gives() -> None:
    """One for each output; another number of names is refused."""
    regression = LinearRegression().fit(ROWS, TWO)
    assert task(regression, ["low", "high"]) == Regression(targets=("low", "high"))
    for names in (["low"], ["low", "low"]):
        with pytest.raises(PackagingError, match=r"names of targets, low.* for 2 outputs"):
            task(regression, names)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0], "the one class 0 only"),
        ([None, "x"], "class None is a NoneType; labels must be strings, numbers or booleans"),
        ([0.5, np.nan], "class nan is a float"),
        (np.array([1, "1"], dtype=object), "JSON keys do not keep apart: 1"),
    ],
)
def test_labels_that_json_has_not_are_refused(labels: Any, message: str) -> None:
    """The refusal names the label, and how to fit on others."""
    with pytest.raises(PackagingError, match=message):
        task(Untagged(np.asarray(labels, dtype=object)[[0, 0, 0, 0]], labels))
