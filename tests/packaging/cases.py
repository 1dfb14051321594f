"""Estimators of every kind that people have, with their data and what packaging finds."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
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
