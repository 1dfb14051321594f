"""Missing values and unseen categories are allowed where the estimator answers them."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from serve_app.model.card import EstimatorInput
from serve_app.model.features import Feature
from serve_app.model.sklearn_predictor import SklearnPredictor
from serve_app.model.tasks import Classification
from serve_app.packaging.features import infer_features
from serve_app.packaging.nullability import features_within_domain, without_missing
from serve_app.packaging.rows import encode
from serve_app.packaging.steps import facts_of
from serve_app.packaging.tables import PackagingError

GENERATOR = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "number": GENERATOR.normal(size=60),
        "count": GENERATOR.integers(5, size=60),
        "plan": GENERATOR.choice(["basic", "pro"], size=60),
    }
)
LABELS = (TABLE["number"] > 0).astype(int)
TASK = Classification(classes=(0, 1), has_probabilities=True, labels_follow_probabilities=False)


def piped(*steps: Any) -> Any:
    """A pipeline that encodes the plan as ``steps`` say, and passes the rest."""
    selected = make_column_transformer((make_pipeline(*steps), ["plan"]), remainder="passthrough")
    return make_pipeline(selected, HistGradientBoostingClassifier(max_iter=2)).fit(TABLE, LABELS)


def within(
    estimator: Any, table: Any, takes: EstimatorInput = "frame", *, said: Any = None
) -> dict[str, Feature]:
    """Features of ``table`` by their names, after the estimator was asked."""
    draft = infer_features(table, facts_of(estimator, list(table.columns)), {})
    load = partial(SklearnPredictor, estimator, TASK, estimator_input=takes)
    found = features_within_domain(
        load, draft, encode(table, draft), said or {}, in_frames=takes == "frame"
    )
    return {feature.name: feature for feature in found}


def test_a_linear_model_takes_no_gaps() -> None:
    """It raises on a missing value, so requests must have all of them."""
    numbers = TABLE[["number", "count"]]
    found = within(LogisticRegression().fit(numbers, LABELS), numbers, "array")
    assert not any(feature.nullable for feature in found.values())


def test_an_imputer_takes_gaps_in_its_columns() -> None:
    """Column by column: what imputes one does not help the other."""
    numbers = TABLE[["number", "count"]]
    selected = make_column_transformer((SimpleImputer(), ["count"]), remainder="passthrough")
    estimator = make_pipeline(selected, LogisticRegression()).fit(numbers, LABELS)
    found = within(estimator, numbers)
    assert [found["number"].nullable, found["count"].nullable] == [False, True]
    assert found["count"].dtype is None  # NumPy's integers have no missing value


@pytest.mark.parametrize(
    ("steps", "nullable", "unseen_allowed"),
    [
        ([OneHotEncoder(sparse_output=False)], False, False),
        ([OneHotEncoder(handle_unknown="ignore", sparse_output=False)], True, True),
        (
            [SimpleImputer(strategy="most_frequent"), OneHotEncoder(sparse_output=False)],
            True,
            False,
        ),
    ],
)
def test_an_encoder_says_what_it_takes_by_answering(
    steps: list[Any], *, nullable: bool, unseen_allowed: bool
) -> None:
    """Unseen and missing values are two questions."""
    plan = within(piped(*steps), TABLE)["plan"]
    assert (plan.nullable, plan.unseen_allowed) == (nullable, unseen_allowed)


def test_a_user_may_forbid_what_the_estimator_answers_and_not_allow_more() -> None:
    """What is allowed must have an answer."""
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    corrections = {"plan": {"nullable": False, "unseen_allowed": False}}
    plan = within(piped(encoder), TABLE, said=corrections)["plan"]
    assert (plan.nullable, plan.unseen_allowed) == (False, False)
    strict = piped(OneHotEncoder(sparse_output=False))
    with pytest.raises(PackagingError, match=r"'plan': nullable is set, but .*ValueError: Found"):
        within(strict, TABLE, said={"plan": {"nullable": True}})


def test_rows_with_forbidden_gaps_are_told_from_others() -> None:
    """Float rows have NaN, others None."""
    features = [
        Feature(name="a", minimum=0, maximum=1, nullable=True),
        Feature(name="b", minimum=0, maximum=1),
    ]
    rows = np.array([[np.nan, 1], [1, np.nan]])
    assert without_missing(rows, features).tolist() == [True, False]
    objects = np.array([[None, "x"], ["x", None]], dtype=object)
    assert without_missing(objects, features).tolist() == [True, False]
