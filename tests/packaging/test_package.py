"""Any fitted classifier over numeric columns becomes a model directory, or a clear refusal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serve_app.model.artifact import Artifact
from serve_app.model.card import MODEL_FILE, Engine, Feature
from serve_app.model.loading import load_predictor
from serve_app.packaging.columns import PackagingError
from serve_app.packaging.package import load_estimator, package_model
from tests.support.models import ESTIMATORS, WITHOUT_PROBABILITIES, Packaged

ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
LABELS = np.array([0, 0, 1, 1])
FEATURES = [Feature(name=name, minimum=0, maximum=3) for name in ("a", "b")]


@pytest.fixture(scope="module")
def fitted() -> LogisticRegression:
    return LogisticRegression().fit(ROWS, LABELS)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Iris as a DataFrame with column names that are not identifiers."""
    return load_iris(as_frame=True).data


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_card_describes_the_estimator(packaged: Callable[[str], Packaged], name: str) -> None:
    """Features, classes, training data and a sample are recorded as the estimator has them."""
    fitted, card = packaged(name).fitted, packaged(name).artifact.card
    assert card.classes == tuple(fitted.estimator.classes_.tolist())
    assert card.has_probabilities == (name not in WITHOUT_PROBABILITIES)
    assert len(card.features) == fitted.rows.shape[1]
    assert [feature.minimum for feature in card.features] == fitted.rows.min(axis=0).tolist()
    assert [feature.maximum for feature in card.features] == fitted.rows.max(axis=0).tolist()
    assert card.training_data is not None
    assert card.training_data.rows == len(fitted.rows)
    assert list(card.sample.instance.values()) == fitted.rows[0].tolist()
    assert card.sample.predicted_class == fitted.estimator.predict(fitted.rows[:1])[0]
    assert {"scikit-learn", "numpy", "onnxruntime", "python"} <= set(card.libraries)


def test_a_data_frame_gives_names_and_ranges(table: pd.DataFrame, tmp_path: Path) -> None:
    """An estimator fitted on a DataFrame is packaged with nothing else, and answers as it."""
    estimator = LogisticRegression(max_iter=1000).fit(table, load_iris().target)
    card = package_model(estimator, tmp_path / "model", training_data=table)
    assert card.feature_names == tuple(table.columns)
    assert [feature.maximum for feature in card.features] == table.max().tolist()
    engines: tuple[Engine, ...] = ("onnx", "sklearn")
    for engine in engines:
        predictor = load_predictor(Artifact.open(tmp_path / "model"), engine)
        answers = predictor.predict(table.to_numpy())
        assert answers.labels == estimator.predict(table).tolist()


def test_what_is_known_of_the_model_is_recorded(fitted: LogisticRegression, tmp_path: Path) -> None:
    """Name and metrics are the caller's; without training data the card says there is none."""
    card = package_model(
        fitted, tmp_path / "model", features=FEATURES, name="mine", metrics={"auc": 0.9}
    )
    assert (card.name, card.metrics, card.training_data) == ("mine", {"auc": 0.9}, None)
    assert card.sample.instance == {"a": 1.5, "b": 1.5}


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


@pytest.mark.parametrize(
    ("estimator", "options", "message"),
    [
        (LogisticRegression(), {}, "LogisticRegression has no classes_.*call fit first"),
        (LinearRegression().fit(ROWS, LABELS), {}, "not a fitted classifier"),
        (LogisticRegression().fit(ROWS, LABELS + 0.0), {}, r"class 0\.0 is a float.*astype\(int\)"),
        (LogisticRegression().fit(ROWS, LABELS > 0), {}, "class False is a bool"),
        (DummyClassifier().fit(ROWS, LABELS * 0), {}, "classes: .*at least 2 items"),
        (LogisticRegression().fit(ROWS[:, :1], LABELS), {}, "features has 2, estimator has 1"),
        (
            LogisticRegression().fit(ROWS, LABELS),
            {"training_data": ROWS[:, :1]},
            "features has 2, training_data has 1, estimator has 2",
        ),
        (
            LogisticRegression().fit(ROWS, LABELS),
            {"training_data": ROWS * 1e31 + 1e31},
            r"instance\.a=1e\+31: .*less than or equal to 10{30}",
        ),
        (LogisticRegression().fit(ROWS, LABELS), {"features": FEATURES[:1] * 2}, "repeated: a"),
        (LogisticRegression().fit(ROWS, LABELS), {"metrics": {"auc": np.nan}}, r"metrics\.auc"),
        (
            LogisticRegression().fit(pd.DataFrame(ROWS, columns=["b", "a"]), LABELS),
            {},
            "columns in the order b, a",
        ),
        (
            make_pipeline(
                make_column_transformer((StandardScaler(), ["a"]), remainder="passthrough"),
                LogisticRegression(),
            ).fit(pd.DataFrame(ROWS, columns=["a", "b"]), LABELS),
            {},
            "cannot predict a plain array of 2 numbers.*by position, not by name",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(
    tmp_path: Path, estimator: Any, options: dict[str, Any], message: str
) -> None:
    """The refusal names value and fix, and nothing is written."""
    with pytest.raises(PackagingError, match=message):
        package_model(estimator, tmp_path / "model", **{"features": FEATURES, **options})
    assert not list(tmp_path.iterdir())


def test_a_file_without_an_estimator_is_refused(tmp_path: Path) -> None:
    """The refusal names the file and what joblib says of it."""
    (tmp_path / "text.joblib").write_text("not a pickle")
    with pytest.raises(PackagingError, match=r"text\.joblib: cannot load a fitted estimator: \w+"):
        load_estimator(tmp_path / "text.joblib")
