"""Estimators of every kind that people have become model directories that answer as they do."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    StandardScaler,
)
from sklearn.svm import LinearSVC

from serve_app.model.artifact import Artifact
from serve_app.model.card import Engine
from serve_app.model.loading import load_predictor
from serve_app.packaging.package import Packaged as Written
from serve_app.packaging.package import package, package_model
from serve_app.packaging.rows import encode
from serve_app.packaging.summary import summary
from tests.support.training_data import (
    CANCER,
    CODED,
    CODES,
    GAPS,
    LIKES,
    NUMBERS,
    PEOPLE,
    PRAISE,
    SPENDS,
    SUGAR,
    TEXTS,
    kinds,
)

QUIET = {"verbose": 0, "cat_features": ["plan"], "allow_writing_files": False}


def prepared(unknown: str = "ignore") -> Any:
    """What makes numbers of people, with imputers and an encoder."""
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
        (
            make_pipeline(
                SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown=unknown)
            ),
            ["plan"],
        ),
        remainder="passthrough",
    )


class Case(NamedTuple):
    """An estimator of some kind, with its training rows, and what is expected of its card."""

    fit: Callable[[], Any]
    data: Any
    task: str
    kinds: str
    """First letters of the kinds of the columns; ``?`` nullable, ``!`` no unseen values."""


CASES: dict[str, Case] = {
    "mixed columns by name": Case(
        lambda: make_pipeline(prepared(), LogisticRegression()).fit(PEOPLE, LIKES),
        PEOPLE,
        "classification",
        "i? n? c? b",
    ),
    "mixed columns with gaps": Case(
        lambda: make_pipeline(prepared("error"), LogisticRegression()).fit(GAPS, LIKES),
        GAPS,
        "classification",
        "i? n? c?! b",
    ),
    "one-hot codes by position": Case(
        lambda: make_pipeline(
            make_column_transformer((OneHotEncoder(), [0]), remainder="passthrough"),
            LogisticRegression(),
        ).fit(CODES.to_numpy(), CODES["code"] > 2),
        CODES,
        "classification",
        "c! n",
    ),
    "ordinal codes in a forest": Case(
        lambda: make_pipeline(
            make_column_transformer(
                (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["plan"]),
                remainder="passthrough",
            ),
            RandomForestClassifier(5, random_state=0),
        ).fit(PEOPLE, LIKES),
        PEOPLE,
        "classification",
        "i? n? c? b?",
    ),
    "histogram boosting on categories": Case(
        lambda: HistGradientBoostingClassifier(max_iter=5).fit(CODED, LIKES),
        CODED,
        "classification",
        "i? n? c? b?",
    ),
    "histogram boosting of numbers": Case(
        lambda: make_pipeline(prepared(), HistGradientBoostingRegressor(max_iter=5)).fit(
            GAPS, SPENDS
        ),
        GAPS,
        "regression",
        "i? n? c? b?",
    ),
    "logarithm": Case(
        lambda: make_pipeline(
            FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression()
        ).fit(NUMBERS.to_numpy(), LIKES),
        NUMBERS,
        "classification",
        "i n",
    ),
    "Box-Cox": Case(
        lambda: make_pipeline(PowerTransformer(method="box-cox"), LogisticRegression()).fit(
            NUMBERS, LIKES
        ),
        NUMBERS,
        "classification",
        "i n",
    ),
    "counts": Case(lambda: MultinomialNB().fit(NUMBERS, LIKES), NUMBERS, "classification", "i n"),
    "linear regression": Case(
        lambda: LinearRegression().fit(SUGAR.data, SUGAR.target),
        SUGAR.data,
        "regression",
        " ".join("n" * 10),
    ),
    "regression of two targets": Case(
        lambda: Ridge().fit(NUMBERS, np.column_stack([SPENDS, -SPENDS])),
        NUMBERS,
        "regression",
        "i n",
    ),
    "regression of a logarithm": Case(
        lambda: TransformedTargetRegressor(
            LinearRegression(), func=np.log1p, inverse_func=np.expm1
        ).fit(SUGAR.data, SUGAR.target),
        SUGAR.data,
        "regression",
        " ".join("n" * 10),
    ),
    "several outputs": Case(
        lambda: MultiOutputClassifier(LogisticRegression()).fit(
            NUMBERS, np.column_stack([LIKES.astype(str), PEOPLE["plan"]])
        ),
        NUMBERS,
        "multioutput",
        "i n",
    ),
    "chain": Case(
        lambda: ClassifierChain(LogisticRegression()).fit(
            NUMBERS, np.column_stack([LIKES, PEOPLE["member"]])
        ),
        NUMBERS,
        "multioutput",
        "i n",
    ),
    "outliers": Case(
        lambda: IsolationForest(n_estimators=5, random_state=0).fit(NUMBERS),
        NUMBERS,
        "outlier",
        "i? n?",
    ),
    "clusters": Case(
        lambda: make_pipeline(StandardScaler(), KMeans(3, random_state=0)).fit(NUMBERS),
        NUMBERS,
        "prediction",
        "i n",
    ),
    "threshold": Case(
        lambda: FixedThresholdClassifier(
            make_pipeline(prepared(), LogisticRegression()), threshold=0.3
        ).fit(PEOPLE, LIKES),
        PEOPLE,
        "classification",
        "i? n? c? b",
    ),
    "calibrated": Case(
        lambda: CalibratedClassifierCV(make_pipeline(prepared(), LinearSVC()), cv=2).fit(
            PEOPLE, LIKES
        ),
        PEOPLE,
        "classification",
        "i? n? c? b",
    ),
    "vote": Case(
        lambda: VotingClassifier(
            [
                ("linear", make_pipeline(prepared(), LogisticRegression())),
                ("forest", make_pipeline(prepared(), RandomForestClassifier(3))),
            ],
            voting="soft",
        ).fit(PEOPLE, LIKES),
        PEOPLE,
        "classification",
        "i? n? c? b",
    ),
    "stack in a search": Case(
        lambda: GridSearchCV(
            StackingClassifier([("linear", make_pipeline(StandardScaler(), LinearSVC()))], cv=2),
            {"cv": [2]},
            cv=2,
        ).fit(CANCER.data.iloc[:, :3], CANCER.target),
        CANCER.data.iloc[:, :3],
        "classification",
        "n n n",
    ),
    "texts": Case(
        lambda: make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, PRAISE),
        TEXTS,
        "classification",
        "t",
    ),
    "a column of texts": Case(
        lambda: make_pipeline(
            make_column_transformer((TfidfVectorizer(), "text"), remainder="passthrough"),
            LogisticRegression(),
        ).fit(PEOPLE[["age"]].assign(text=TEXTS), PRAISE),
        PEOPLE[["age"]].assign(text=TEXTS),
        "classification",
        "i t",
    ),
    "boolean labels": Case(
        lambda: LogisticRegression().fit(NUMBERS, LIKES > 0), NUMBERS, "classification", "i n"
    ),
    "float labels": Case(
        lambda: LogisticRegression().fit(NUMBERS, LIKES + 1.0), NUMBERS, "classification", "i n"
    ),
}


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
