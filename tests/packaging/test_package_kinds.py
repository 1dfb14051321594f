"""Estimators of every kind that people have become model directories that answer as they do."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import (
    StandardScaler,
)

from serve_app.model.artifact import Artifact
from serve_app.model.card import Engine
from serve_app.model.loading import load_predictor
from serve_app.packaging.package import Packaged as Written
from serve_app.packaging.package import package, package_model
from serve_app.packaging.rows import encode
from serve_app.packaging.summary import summary
from tests.packaging.cases import CASES, QUIET
from tests.support.training_data import (
    CODED,
    LIKES,
    NUMBERS,
    PEOPLE,
    SPENDS,
    kinds,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Written]]:
    """Packages a case once; returns its estimator and what was written."""
    known: dict[str, tuple[Any, Written]] = {}

    def package_case(name: str) -> tuple[Any, Written]:
        if name not in known:
            estimator = CASES[name].fit()
            directory = tmp_path_factory.mktemp("case") / "model"
            found = package(estimator, directory, training_data=CASES[name].data, report=print)
            known[name] = estimator, found
        return known[name]

    return package_case


@pytest.mark.parametrize("name", CASES)
def test_models_that_people_have_are_packaged(
    written: Callable[[str], tuple[Any, Written]], name: str
) -> None:
    """The task and the kinds of the columns are found, and the proof covers all of them."""
    _, (card, _, _) = written(name)
    assert card.task.name == CASES[name].task
    assert kinds(card) == CASES[name].kinds
    if card.compilation.agreement is not None:
        assert card.compilation.agreement.disagreements == 0
        assert card.compilation.agreement.coverage.varying_features == 1
        assert card.compilation.agreement.coverage.training_rows >= 250


@pytest.mark.parametrize("name", CASES)
def test_every_engine_answers_the_training_rows_as_the_estimator(
    written: Callable[[str], tuple[Any, Written]], name: str
) -> None:
    """Loaded from the directory, as a replica does, in the form of requests."""
    estimator, (card, directory, _) = written(name)
    data = CASES[name].data
    frame = data.to_frame("text") if isinstance(data, pd.Series) else data
    rows = encode(frame, card.features)
    with_names = hasattr(estimator, "feature_names_in_") or isinstance(data, pd.Series)
    fitted_on = data if with_names else data.to_numpy()
    expected = np.asarray(estimator.predict(fitted_on))
    engines: set[Engine] = {"sklearn", card.compilation.engine}
    for engine in engines:
        found = load_predictor(Artifact.open(directory), engine).predict(rows).values
        if card.task.name == "outlier":
            assert found == (expected == -1).tolist()
        elif card.task.name == "regression":
            assert np.allclose(found, expected.reshape(len(found), -1))
        else:
            assert found == expected.tolist()


@pytest.mark.parametrize(
    ("library", "make"),
    [
        ("lightgbm", lambda each: each.LGBMClassifier(n_estimators=3, verbose=-1)),
        ("lightgbm", lambda each: each.LGBMRegressor(n_estimators=3, verbose=-1)),
        ("xgboost", lambda each: each.XGBClassifier(n_estimators=3)),
        ("xgboost", lambda each: each.XGBRegressor(n_estimators=3)),
        ("catboost", lambda each: each.CatBoostClassifier(iterations=3, **QUIET)),
    ],
)
def test_boosters_are_packaged_also_from_a_file(tmp_path: Path, library: str, make: Any) -> None:
    """A CSV file has lost the categorical data types; the booster knows its categories."""
    estimator = make(importlib.import_module(library))
    is_classifier = "Classifier" in type(estimator).__name__
    table = (
        PEOPLE if library == "catboost" else CODED.assign(plan=PEOPLE["plan"].astype("category"))
    )
    estimator.fit(table, LIKES if is_classifier else SPENDS)
    table.to_csv(tmp_path / "rows.csv", index=False)
    from serve_app.packaging.tables import read_table

    card = package_model(
        estimator, tmp_path / "model", training_data=read_table(tmp_path / "rows.csv")
    )
    assert card.task.name == ("classification" if is_classifier else "regression")
    assert card.features[2].values == ("basic", "pro", "team")
    assert library in card.libraries


def test_imbalanced_pipelines_are_packaged(tmp_path: Path) -> None:
    """Samplers do nothing to requests."""
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.pipeline import make_pipeline as make_imbalanced

    estimator = make_imbalanced(StandardScaler(), RandomOverSampler(), LogisticRegression())
    card = package_model(estimator.fit(NUMBERS, LIKES), tmp_path / "model", training_data=NUMBERS)
    assert "imbalanced-learn" in card.libraries


def test_the_summary_is_a_table(written: Callable[[str], tuple[Any, Written]]) -> None:
    """Task, columns, engine, reason, coverage, and what a replica needs."""
    _, (card, directory, measured) = written("mixed columns by name")
    text = summary(card, directory, measured)
    assert text.startswith(f"classifier {card.version} -> {directory}\n")
    assert "age (integer), income (number), plan (category), member (boolean)" in text
    for title in ("task", "classes", "engine", "reason", "one row", "replica"):
        assert f"\n  {title} " in text
    assert measured.row_seconds > 0
    assert measured.megabytes > 20
