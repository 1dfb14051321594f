"""What a model directory says of its estimator, whatever way it was given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
)

from serve_app.model.artifact import Artifact
from serve_app.model.card import MODEL_FILE
from serve_app.model.loading import load_predictor
from serve_app.packaging.package import package_model
from serve_app.packaging.rows import encode
from tests.support.models import ESTIMATORS, WITHOUT_PROBABILITIES, Packaged
from tests.support.tables import day_of_month
from tests.support.training_data import (
    FEATURES,
    GAPS,
    LABELS,
    LIKES,
    NUMBERS,
    PEOPLE,
    ROWS,
    SPENDS,
    kinds,
)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_card_describes_the_estimator(packaged: Callable[[str], Packaged], name: str) -> None:
    """Features, classes, training data and a sample are recorded as the estimator has them."""
    fitted, card = packaged(name).fitted, packaged(name).artifact.card
    task = card.task
    assert task.name == "classification"
    assert task.classes == tuple(fitted.estimator.classes_.tolist())
    assert task.has_probabilities == (name not in WITHOUT_PROBABILITIES)
    assert [feature.minimum for feature in card.features] == fitted.rows.min(axis=0).tolist()
    assert [feature.maximum for feature in card.features] == fitted.rows.max(axis=0).tolist()
    assert card.training_data is not None
    assert card.training_data.rows == len(fitted.rows)
    assert list(card.sample.instance.values()) == fitted.rows[0].tolist()
    assert card.sample.answer["predicted_class"] == fitted.estimator.predict(fitted.rows[:1])[0]
    assert {"scikit-learn", "numpy", "onnxruntime", "python"} <= set(card.libraries)
    assert card.fitted_with == card.libraries["scikit-learn"]


def test_reordered_columns_are_put_in_order(tmp_path: Path) -> None:
    """The card has the estimator's order; whatever order the rows came in, answers are right."""
    table = load_iris(as_frame=True).data
    estimator = LogisticRegression(max_iter=1000).fit(table, load_iris().target)
    reordered = table[table.columns[::-1]]
    card = package_model(estimator, tmp_path / "model", training_data=reordered)
    assert card.feature_names == tuple(table.columns)
    predictor = load_predictor(Artifact.open(tmp_path / "model"))
    assert predictor.predict(table.to_numpy()).values == estimator.predict(table).tolist()


def test_a_user_corrects_some_columns(tmp_path: Path) -> None:
    """What is not said is inferred; outputs have the names that are given."""
    estimator = LinearRegression().fit(NUMBERS, np.column_stack([SPENDS, SPENDS]))
    card = package_model(
        estimator,
        tmp_path / "model",
        training_data=NUMBERS,
        features={"age": {"kind": "number", "unit": "years", "maximum": 120}},
        targets=["low", "high"],
    )
    age, income = card.features
    assert (age.kind, age.unit, age.maximum) == ("number", "years", 120)
    assert (income.kind, income.unit) == ("number", None)
    assert list(card.sample.answer["prediction"]) == ["low", "high"]


def test_the_card_says_where_training_rows_had_gaps(tmp_path: Path) -> None:
    """An imputer answers gaps that training had not; without training rows none is known."""
    table = NUMBERS.assign(age=NUMBERS["age"].astype(float).where(NUMBERS.index > 0))
    estimator = make_pipeline(SimpleImputer(), LinearRegression()).fit(table, SPENDS)
    card = package_model(estimator, tmp_path / "model", training_data=table)
    assert [each.nullable for each in card.features] == [True, True]
    assert [each.gaps_in_training for each in card.features] == [True, False]
    ranges = {name: {"minimum": 0, "maximum": 1} for name in table}
    card = package_model(estimator, str(tmp_path / "model"), features=ranges)
    assert [each.gaps_in_training for each in card.features] == [None, None]


@pytest.mark.parametrize("passed", [False, True], ids=["dropped", "passed on"])
def test_datetimes_and_texts_that_no_step_reads_do_not_prevent_the_compiled_form(
    tmp_path: Path, *, passed: bool
) -> None:
    """The compiled form answers as the estimator; where a step gets them, the card says why not."""
    table = NUMBERS.assign(
        since=pd.date_range("2024-01-01", periods=len(NUMBERS), freq="h"),
        note=[f"note {row}" for row in range(len(NUMBERS))],
    )[["since", "age", "note", "income"]]
    columns = make_column_transformer(
        ("passthrough", ["age", "income"]),
        (FunctionTransformer(day_of_month), ["since"] if passed else []),
    )
    estimator = make_pipeline(columns, LinearRegression()).fit(table, SPENDS)
    card = package_model(estimator, tmp_path / "model", training_data=table)
    assert [each.kind for each in card.features][0::2] == ["datetime", "text"]
    assert card.compilation.engine == ("sklearn" if passed else "onnx"), card.compilation.reason
    predictor = load_predictor(Artifact.open(tmp_path / "model"))
    rows = encode(table, card.features)[:20]
    expected = estimator.predict(table[:20]).reshape(-1, 1)
    np.testing.assert_allclose(predictor.predict(rows).values, expected, rtol=1e-9)
    np.testing.assert_allclose(predictor.predict(rows[7:8]).values, expected[7:8], rtol=1e-9)


def test_what_is_known_of_the_model_is_recorded(fitted: LogisticRegression, tmp_path: Path) -> None:
    """Name and metrics are the caller's; without training data the card says there is none."""
    card = package_model(
        fitted, tmp_path / "model", features=FEATURES, name="mine", metrics={"auc": 0.9}
    )
    assert (card.name, card.metrics, card.training_data) == ("mine", {"auc": 0.9}, None)
    assert set(card.sample.instance) == {"a", "b"}


def test_the_callers_estimator_stays_as_it_is(tmp_path: Path) -> None:
    """One replica is one CPU: what is packaged has one job, what was given keeps its own."""
    forest = RandomForestClassifier(n_estimators=2, n_jobs=2).fit(ROWS, LABELS)
    package_model(forest, tmp_path / "model", features=FEATURES)
    assert forest.n_jobs == 2
    assert joblib.load(tmp_path / "model" / MODEL_FILE).n_jobs == 1


def test_packaging_twice_gives_one_version(fitted: LogisticRegression, tmp_path: Path) -> None:
    """The version is the content's; what it is called or where it lies is not."""
    first, second = (
        package_model(fitted, tmp_path / name, features=FEATURES) for name in ("one", "two")
    )
    assert first == second


def test_rows_with_gaps_that_are_refused_are_left_out(tmp_path: Path) -> None:
    """The estimator was fitted on the complete rows; how many others there are is told."""
    complete = GAPS[["age", "income"]].dropna()
    estimator = LogisticRegression().fit(complete, LIKES[complete.index])
    said: list[str] = []
    card = package_model(
        estimator, tmp_path / "model", training_data=GAPS[["age", "income"]], report=said.append
    )
    assert kinds(card) == "i n"
    missing = len(GAPS) - len(complete)
    assert any(f"{missing} of 300 training rows have missing values" in line for line in said)


@pytest.mark.parametrize(
    "data", [PEOPLE[["age", "income"]][:1], pd.concat([PEOPLE[["age", "income"]][:1]] * 50)]
)
def test_a_degenerate_proof_is_none(tmp_path: Path, data: Any) -> None:
    """scikit-learn serves, and the card says how little there was to compare."""
    card = package_model(
        LogisticRegression().fit(NUMBERS, LIKES), tmp_path / "model", training_data=data
    )
    assert card.compilation.engine == "sklearn"
    assert "only 0 of 2 columns vary in the data" in card.compilation.reason
