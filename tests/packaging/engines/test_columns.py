"""Columns of all kinds before an estimator: encoders, imputers, scalers, selection by name."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.feature_selection import RFE, SelectFromModel, SelectKBest
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from serve_app.model.features import Feature
from serve_app.packaging.compiler import compiled_form
from serve_app.packaging.engines.graph import CannotCompileError
from tests.support.compiled import Pair, features_of, task_of

RANDOM = np.random.default_rng(0)
ROWS = 400
STRINGS = ["plan", "city", "job"]


def table_of() -> Any:
    """Numbers with gaps, strings with gaps and rare values, codes and booleans."""
    table = pd.DataFrame(
        {
            "age": RANDOM.integers(18, 80, ROWS),
            "income": RANDOM.lognormal(3, 1, ROWS),
            "member": RANDOM.random(ROWS) < 0.5,
            "plan": RANDOM.choice(["basic", "pro", "max"], ROWS).astype(object),
            "city": RANDOM.choice(list("abcdefgh"), ROWS, p=[0.3] * 3 + [0.02] * 5).astype(object),
            "job": RANDOM.choice(["x", "y"], ROWS).astype(object),
            "code": RANDOM.integers(1, 6, ROWS),
        }
    )
    table.loc[RANDOM.random(ROWS) < 0.1, "income"] = np.nan
    table.loc[RANDOM.random(ROWS) < 0.1, "job"] = None
    return table


TABLE = table_of()
LABELS = ((TABLE.age > 40) ^ (TABLE.plan == "pro")).astype(int)


def rows_with_unseen(pair: Pair) -> Any:
    """Rows of the pair, half of them with a city that no step knows."""
    rows = pair.rows()
    rows[::2, 4] = "elsewhere"
    return rows


def numbers() -> Any:
    return make_pipeline(SimpleImputer(), StandardScaler()), ["income", "age"]


ENCODERS = [
    OneHotEncoder(handle_unknown="ignore"),
    OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.1),
    OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3, drop="if_binary"),
    OneHotEncoder(handle_unknown="ignore", drop="first", sparse_output=False),
    make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
    make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing"),
        OneHotEncoder(handle_unknown="ignore"),
    ),
    TargetEncoder(),
]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda each: repr(each)[:60])
@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_strings_are_encoded_as_by_the_encoder(encoder: Any) -> None:
    """Missing, rare and unseen values get the columns that the encoder gives them."""
    columns = make_column_transformer(numbers(), (encoder, STRINGS), remainder="passthrough")
    pair = Pair(make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(TABLE, LABELS), TABLE)
    pair.require_equal()
    pair.require_equal(rows_with_unseen(pair))


@pytest.mark.parametrize(
    "encoder",
    [
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
        OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=99,
            encoded_missing_value=-2,
            min_frequency=0.1,
        ),
        OrdinalEncoder(
            categories=[["max", "basic", "pro"], list("hgfedcba"), ["y", "x", None]],
            handle_unknown="use_encoded_value",
            unknown_value=np.nan,
        ),
    ],
    ids=lambda each: repr(each)[:70],
)
def test_ordinals_reach_trees_as_the_encoder_gives_them(encoder: Any) -> None:
    """Positions of categories, and what stands for missing and unknown ones."""
    columns = make_column_transformer((encoder, STRINGS), remainder="passthrough")
    model = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=5))
    pair = Pair(model.fit(TABLE, LABELS), TABLE)
    pair.require_equal()
    pair.require_equal(rows_with_unseen(pair))


def test_codes_are_categories_too() -> None:
    """Numbers as categories, by position in an array, all known ones."""
    codes = TABLE[["code", "age"]].to_numpy(float)
    for encoder in (OneHotEncoder(), OrdinalEncoder(), OneHotEncoder(handle_unknown="ignore")):
        columns = make_column_transformer((encoder, [0]), remainder="passthrough")
        model = make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(codes, LABELS)
        Pair(model, codes).require_equal()


def test_columns_are_found_by_name_in_any_order() -> None:
    """A transformer that was fitted on other places of the columns gets them by name."""
    columns = make_column_transformer((StandardScaler(), ["age"]), remainder="drop")
    model = make_pipeline(columns, LogisticRegression()).fit(TABLE, LABELS)
    Pair(model, TABLE[["plan", "age", "income", "member", "city", "job", "code"]]).require_equal()


def test_names_of_a_frame_between_steps_are_known() -> None:
    """With pandas output a later step selects by the names that an earlier one gives."""
    inner = ColumnTransformer(
        [("n", StandardScaler(), ["age"]), ("c", OneHotEncoder(sparse_output=False), ["plan"])]
    ).set_output(transform="pandas")
    outer = make_column_transformer((MinMaxScaler(), ["c__plan_pro", "n__age"]))
    model = make_pipeline(inner, outer, LogisticRegression()).fit(TABLE, LABELS)
    Pair(model, TABLE).require_equal()


NUMBERS = TABLE[["age", "income", "code"]].fillna(20.0).to_numpy(float)
STEPS = [
    make_pipeline(RobustScaler(), MaxAbsScaler(), MinMaxScaler(clip=True)),
    StandardScaler(with_mean=False),
    PowerTransformer(),
    PowerTransformer(method="box-cox", standardize=False),
    KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf"),
    KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"),
    PolynomialFeatures(3),
    make_pipeline(FunctionTransformer(np.log1p), Binarizer(threshold=3.0)),
    FunctionTransformer(np.sqrt),
    FunctionTransformer(),
    SelectKBest(k=2),
    SelectFromModel(GradientBoostingClassifier(n_estimators=3, random_state=0)),
    FeatureUnion(
        [("a", StandardScaler()), ("b", SelectKBest(k=1))], transformer_weights={"a": 2.0}
    ),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda each: repr(each)[:60].replace("\n", ""))
def test_numbers_are_transformed_as_by_the_step(step: Any) -> None:
    """Also outside of the ranges that the step was fitted on."""
    final = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    pair = Pair(make_pipeline(step, final).fit(NUMBERS, LABELS), NUMBERS)
    pair.require_equal()
    pair.require_equal(NUMBERS * RANDOM.uniform(0.5, 1.5, NUMBERS.shape), tolerance=1e-10)


def test_a_selector_that_predicts() -> None:
    """Recursive elimination predicts from the columns that it keeps."""
    model = RFE(LogisticRegression(max_iter=2000), n_features_to_select=2)
    Pair(make_pipeline(StandardScaler(), model).fit(NUMBERS, LABELS), NUMBERS).require_equal()


@pytest.mark.parametrize(
    "imputer",
    [
        SimpleImputer(strategy="median", add_indicator=True),
        SimpleImputer(strategy="constant", fill_value=-1.0),
        FeatureUnion([("i", SimpleImputer()), ("m", MissingIndicator())]),
    ],
    ids=lambda each: repr(each)[:60],
)
def test_missing_numbers_are_imputed(imputer: Any) -> None:
    """Missing numbers become the imputer's, and may be flagged."""
    gaps = np.where(RANDOM.random(NUMBERS.shape) < 0.2, np.nan, NUMBERS)
    final = make_pipeline(StandardScaler(), LogisticRegression())
    Pair(make_pipeline(imputer, final).fit(gaps, LABELS), gaps).require_equal()


def doubled(values: Any) -> Any:
    """Twice the values."""
    return values * 2


def test_datetimes_are_no_numbers() -> None:
    """A step that computes with one, as training did with nanoseconds, has no compiled form."""
    features = [Feature(name="since", kind="datetime"), Feature(name="x", minimum=0, maximum=9)]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(NUMBERS[:, :2], LABELS)
    with pytest.raises(CannotCompileError, match="StandardScaler over datetimes"):
        compiled_form(model, features, task_of(model))


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (FunctionTransformer(doubled), "function doubled"),
        (PolynomialFeatures(), "PolynomialFeatures over strings"),
    ],
    ids=["function", "strings"],
)
def test_what_is_not_known_is_refused_with_the_reason(step: Any, reason: str) -> None:
    """Code of a user is not read, and numbers are not made of strings."""
    columns = ["plan"] if "strings" in reason else ["age"]
    table = TABLE[columns].replace({"basic": "1", "pro": "2", "max": "3"})
    model = make_pipeline(step, LogisticRegression()).fit(table, LABELS)
    with pytest.raises(CannotCompileError, match=re.escape(reason)):
        compiled_form(model, features_of(table), task_of(model))
