"""An estimator is asked for its task, its columns and what it takes before it is packaged."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, KFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from serve_app.model.features import Feature
from serve_app.model.tasks import (
    Classification,
    MultiOutput,
    OutlierDetection,
    Output,
    PlainPrediction,
    Regression,
    Task,
)
from serve_app.packaging.estimator import order_of_columns, require_estimator
from serve_app.packaging.forms import first_answered, given_forms, taken_form
from serve_app.packaging.outputs import task_of
from serve_app.packaging.steps import Facts, facts_of
from serve_app.packaging.tables import PackagingError

ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
TABLE = pd.DataFrame(ROWS, columns=["a", "b"])
LABELS = np.array([0, 0, 1, 1])
TWO = np.column_stack([LABELS, [0, 1, 2, 2]])
FEATURES = tuple(Feature(name=name, minimum=0, maximum=3) for name in ("a", "b"))


def task(estimator: Any, targets: Any = None) -> Task:
    """The task that is found for an estimator that answers `ROWS`."""
    return task_of(estimator, ROWS, np.asarray(estimator.predict(ROWS)), targets)


def classes(*labels: Any, has_probabilities: bool = True) -> Classification:
    return Classification(
        classes=labels, has_probabilities=has_probabilities, labels_follow_probabilities=False
    )


class Untagged:
    """An estimator that knows nothing of scikit-learn."""

    def __init__(self, answers: Any, labels: Any = None) -> None:
        self._answers = answers
        if labels is not None:
            self.classes_ = labels

    def predict(self, rows: Any) -> Any:
        """The answer to each row."""
        return np.asarray(self._answers)[: len(rows)]


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


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (DBSCAN(), "DBSCAN has no predict"),
        (StandardScaler(), "StandardScaler has no predict"),
        (LogisticRegression, "LogisticRegression is a class"),
        ({"model": LogisticRegression()}, "a dict is no estimator"),
        (None, "NoneType has no predict"),
    ],
)
def test_what_does_not_predict_is_refused(estimator: Any, message: str) -> None:
    """The refusal says what was given."""
    with pytest.raises(PackagingError, match=message):
        require_estimator(estimator)


def test_columns_are_put_in_the_estimators_order() -> None:
    """A pure reordering is one; any other difference is refused, with both lists of names."""
    named = LogisticRegression().fit(TABLE, LABELS)
    assert order_of_columns(named, ["b", "a"]) == ["a", "b"]
    for given in (["a", "c"], ["b", "c"], ["A", "b"], ["a"]):
        message = f"was fitted on a, b; given are {', '.join(given)}; give the columns"
        with pytest.raises(PackagingError, match=message):
            order_of_columns(named, given)
    with pytest.raises(PackagingError, match="given are a, b, y; leave out y"):
        order_of_columns(named, ["a", "b", "y"])
    search = GridSearchCV(make_pipeline(StandardScaler(), Perceptron()), {}, cv=2)
    assert order_of_columns(search.fit(TABLE, LABELS), ["b", "a"]) == ["a", "b"]


def test_without_names_the_number_of_columns_counts() -> None:
    """An estimator that was fitted on an array takes columns in the order given."""
    nameless = LogisticRegression().fit(ROWS, LABELS)
    assert order_of_columns(nameless, ["b", "a"]) == ["b", "a"]
    with pytest.raises(PackagingError, match=r"features has 3, estimator has 2; .* are a, b, c"):
        order_of_columns(nameless, ["a", "b", "c"])


def test_lightgbm_spells_its_columns_otherwise() -> None:
    """It writes an underscore for a blank, and takes the names as they were."""
    lightgbm = pytest.importorskip("lightgbm")
    table = TABLE.set_axis(["a a", "b"], axis="columns")
    estimator = lightgbm.LGBMClassifier(n_estimators=1, verbose=-1).fit(table, LABELS)
    assert order_of_columns(estimator, ["b", "a a"]) == ["a a", "b"]


def test_an_array_is_taken_where_it_is_answered_alike() -> None:
    """It is faster than a DataFrame, which only estimators that select by name need."""
    by_position = LogisticRegression().fit(TABLE, LABELS)
    selected = make_column_transformer((StandardScaler(), ["a"]), remainder="passthrough")
    by_name = make_pipeline(selected, LogisticRegression()).fit(TABLE, LABELS)
    for estimator, expected in ((by_position, "array"), (by_name, "frame")):
        assert taken_form(estimator, classes(0, 1), FEATURES, ROWS, None) == expected


def test_an_estimator_that_answers_otherwise_is_refused() -> None:
    """What requests can send must be answered as the training rows are."""
    expected = Untagged([1.5, 1.5, 1.5, 9.5]).predict(ROWS).tolist()
    with pytest.raises(PackagingError, match="as array: 1 of 4 rows have another answer"):
        taken_form(
            Untagged([1.5] * 4),
            PlainPrediction(),
            FEATURES,
            ROWS,
            PlainPrediction().prediction_of({"prediction": 0})._replace(values=expected),
        )


class PickyClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Takes columns of a categorical dtype only, as boosters do."""

    classes_ = np.array([0, 1])

    def predict(self, rows: Any) -> Any:
        """0 for each row."""
        if not all(dtype == "category" for dtype in rows.dtypes):
            raise ValueError("pandas dtypes must be category")
        return np.zeros(len(rows), int)


def test_data_types_that_a_file_loses_are_found_again() -> None:
    """Strings become categories where the estimator takes nothing else."""
    frame = pd.DataFrame({"a": ["x", "y"]})
    forms = given_forms(frame, None, {"a": Facts()})
    form, values = first_answered(PickyClassifier(), forms, slice(None))
    assert form.dtypes.astype(str).to_dict() == {"a": "category"}
    assert values.tolist() == [0, 0]


def test_an_estimator_that_answers_no_form_is_refused() -> None:
    """With what it said to the form in which the rows were given."""
    narrow = Perceptron().fit(ROWS[:, :1], LABELS)
    message = r"cannot predict the rows given \(ValueError: X has 2"
    with pytest.raises(PackagingError, match=message):
        first_answered(narrow, [ROWS, TABLE], slice(None))
    with pytest.raises(PackagingError, match="Perceptron is not fitted: call fit first"):
        first_answered(Perceptron(), [ROWS], slice(None))
    with pytest.raises(PackagingError, match=r"answers 4 rows with an array of shape \(1,\)"):
        first_answered(Untagged([1.5]), [ROWS], slice(None))


def test_encoders_tell_the_values_of_their_columns() -> None:
    """Inside of pipelines, searches and transformers, by name and by position."""
    table = pd.concat([TABLE.assign(c=["x", "y", "x", "y"])] * 2)
    encoders = make_column_transformer(
        (OneHotEncoder(), ["c"]), (OrdinalEncoder(), slice(1, 2)), (StandardScaler(), [0])
    )
    pipeline = make_pipeline(encoders, Perceptron())
    search = GridSearchCV(pipeline, {}, cv=KFold(2), error_score="raise")
    labels = [*LABELS, *LABELS]
    for estimator in (pipeline.fit(table, labels), search.fit(table, labels)):
        facts = facts_of(estimator, list(table.columns))
        assert [each.is_category for each in facts.values()] == [False, True, True]
        assert [*facts["c"].categories] == ["x", "y"]
