"""An estimator is asked for its task, its columns and what it takes before it is packaged."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import DBSCAN
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from serve_app.model.features import Feature
from serve_app.model.tasks import (
    PlainPrediction,
)
from serve_app.packaging.estimator import order_of_columns, require_estimator
from serve_app.packaging.forms import first_answered, given_forms, taken_form
from serve_app.packaging.steps import Facts, facts_of
from serve_app.packaging.tables import PackagingError
from tests.support.models import Untagged, classes

ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
LABELS = np.array([0, 0, 1, 1])
TABLE = pd.DataFrame(ROWS, columns=["a", "b"])
FEATURES = tuple(Feature(name=name, minimum=0, maximum=3) for name in ("a", "b"))


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
    message = "given are a, b, y; leave out y: with --target .* or from training_data"
    with pytest.raises(PackagingError, match=message):
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
    import lightgbm

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


def test_answers_that_count_columns_are_told_from_others() -> None:
    """A vectoriser of texts takes the names of the columns of a DataFrame for its texts."""
    texts = pd.DataFrame({"text": ["good", "bad", "fine"] * 10, "id": range(30)})
    estimator = make_pipeline(TfidfVectorizer(), Perceptron()).fit(texts["text"], [1, 0, 1] * 10)
    message = "one column of texts, and is given text, id; leave out the others: .*--leave-out"
    with pytest.raises(PackagingError, match=message):
        first_answered(estimator, given_forms(texts, None, {}), slice(None))


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
