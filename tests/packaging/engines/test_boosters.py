"""LightGBM, XGBoost and CatBoost: compiled, they answer as the libraries do."""

import re
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import StackingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from serve_app.model.tasks import Regression
from serve_app.packaging.compiler import compiled_form, thresholds
from serve_app.packaging.engines import catboost_lookups
from serve_app.packaging.engines.graph import CannotCompileError
from tests.support.compiled import Pair, features_of, task_of

IRIS, SPECIES = load_iris(return_X_y=True)
CANCER, BENIGN = load_breast_cancer(return_X_y=True)
CANCER = CANCER[:, :8]
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
RANDOM = np.random.default_rng(0)
BOX = RANDOM.uniform(IRIS.min(axis=0) - 1, IRIS.max(axis=0) + 1, size=(300, 4))
SINGLE = 3e-7
"""XGBoost computes links in single precision."""


def table_of(rows: int = 600) -> tuple[Any, Any]:
    """Numbers with gaps and zeros, categories of strings and codes, booleans; and two classes."""
    random = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "size": random.normal(size=rows),
            "count": random.choice([0.0, 0.0, 1.0, 2.5, -1.0], rows),
            "plan": pd.Categorical(random.choice(list("uvwxyz"), rows)),
            "code": pd.Categorical(random.integers(3, 12, rows)),
            "member": random.random(rows) < 0.5,
        }
    )
    wanted = table["count"] + table["size"] + 3 * (table.plan == "x") + table.code.astype(int) % 3
    table.loc[random.random(rows) < 0.2, "size"] = np.nan
    table.loc[random.random(rows) < 0.1, "plan"] = np.nan
    return table, (wanted > 2).astype(int)


TABLE, LABELS = table_of()
NUMBERS = TABLE.drop(columns="plan").astype(float).to_numpy()


def light(**options: Any) -> dict[str, Any]:
    return {"n_estimators": 15, "verbose": -1, "n_jobs": 1, "min_child_samples": 5, **options}


def extreme(**options: Any) -> dict[str, Any]:
    return {"n_estimators": 15, "n_jobs": 1, "enable_categorical": True, **options}


def cat(**options: Any) -> dict[str, Any]:
    return {
        "iterations": 20,
        "verbose": 0,
        "thread_count": 1,
        "allow_writing_files": False,
        **options,
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_cat_to_onehot": 20},
        {"zero_as_missing": True},
        {"use_missing": False},
        {"boosting_type": "dart"},
        {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7},
        {"objective": "cross_entropy"},
    ],
    ids=str,
)
def test_lightgbm_classifiers_agree(options: Any) -> None:
    """Missing values, zeros, categorical splits, and every way of boosting."""
    model = lightgbm.LGBMClassifier(**light(**options)).fit(TABLE, LABELS)
    pair = Pair(model, TABLE)
    pair.require_equal()
    rows = pair.rows()
    rows[::2, 2] = "elsewhere"
    pair.require_equal(rows)


@pytest.mark.parametrize(
    "objective", ["regression", "regression_l1", "poisson", "gamma", "tweedie", "quantile"]
)
def test_lightgbm_regressors_agree(objective: str) -> None:
    """Each objective has its link."""
    model = lightgbm.LGBMRegressor(**light(objective=objective)).fit(DIABETES, PROGRESS)
    pair = Pair(model, DIABETES)
    pair.require_equal()
    pair.require_equal(pair.beside_thresholds())


@pytest.mark.filterwarnings("ignore::lightgbm.basic.LGBMDeprecationWarning")
def test_lightgbm_of_three_classes_stops_at_the_best_iteration() -> None:
    """Trees after the best iteration are not among the compiled ones."""
    model = lightgbm.LGBMClassifier(**light(n_estimators=200))
    model.fit(
        IRIS[::2],
        SPECIES[::2],
        eval_set=[(IRIS[1::2], SPECIES[1::2])],
        callbacks=[lightgbm.early_stopping(3, verbose=False)],
    )
    assert 0 < model.best_iteration_ < 200
    pair = Pair(model, IRIS)
    pair.require_equal(BOX)
    pair.require_equal(pair.beside_thresholds())


def test_two_classes_with_a_score_for_each() -> None:
    """Objectives for several classes fit two as well."""
    options = light(objective="multiclass", num_class=2)
    model = lightgbm.LGBMClassifier(**options).fit(CANCER, BENIGN)
    Pair(model, CANCER).require_equal()
    model = catboost.CatBoostClassifier(**cat(loss_function="MultiClass")).fit(CANCER, BENIGN)
    Pair(model, CANCER).require_equal()


def test_lightgbm_takes_values_near_zero_for_zero() -> None:
    """Some of its thresholds are the numbers next to zero themselves."""
    random = np.random.default_rng(4)
    rows = np.where(random.random((500, 3)) < 0.3, 0, random.normal(size=(500, 3)))
    model = lightgbm.LGBMClassifier(**light(n_estimators=40))
    pair = Pair(model.fit(rows, rows[:, 0] * rows[:, 1] > rows[:, 2]), rows)
    limits = thresholds(model, pair.features, pair.task)
    near = [values[np.abs(values) < 1e-30] for values in limits.values()]
    assert any(len(values) for values in near)
    pair.require_equal(pair.beside_thresholds())


def test_lightgbm_truncates_codes() -> None:
    """A code of 2.5 is category 2, one below zero is none, as in the library."""
    model = lightgbm.LGBMClassifier(**light()).fit(NUMBERS, LABELS, categorical_feature=[2])
    rows = NUMBERS.copy()
    rows[:, 2] += RANDOM.choice([0, 0.5, 20, -30], len(rows))
    rows[::5, 2] = np.nan
    Pair(model, NUMBERS).require_equal(rows)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_cat_to_onehot": 1},
        {"grow_policy": "lossguide", "max_leaves": 12},
        {"num_parallel_tree": 3, "subsample": 0.5},
        {"base_score": 0.2},
        {"rate_drop": 0.3},
    ],
    ids=str,
)
def test_xgboost_classifiers_agree(options: Any) -> None:
    """Missing values, categorical splits, several trees an iteration, dropped trees."""
    model = xgboost.XGBClassifier(**extreme(**options)).fit(TABLE, LABELS)
    Pair(model, TABLE).require_equal(tolerance=SINGLE)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"objective": "count:poisson"},
        {"objective": "reg:gamma"},
        {"objective": "reg:absoluteerror"},
        {"objective": "reg:tweedie"},
    ],
    ids=str,
)
def test_xgboost_regressors_agree(options: Any) -> None:
    """Sums are taken in single precision, from the base score on."""
    model = xgboost.XGBRegressor(**extreme(**options)).fit(DIABETES, PROGRESS)
    pair = Pair(model, DIABETES)
    pair.require_equal(tolerance=SINGLE)
    pair.require_equal(pair.beside_thresholds(), tolerance=SINGLE)


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
def test_xgboost_of_several_targets(strategy: str) -> None:
    """One tree for each target, or trees with a vector in each leaf."""
    targets = np.column_stack([PROGRESS, PROGRESS**2])
    model = xgboost.XGBRegressor(**extreme(multi_strategy=strategy)).fit(DIABETES, targets)
    task = Regression(targets=("a", "b"))
    Pair(model, DIABETES, task=task).require_equal(tolerance=SINGLE)


def test_xgboost_of_three_classes_stops_at_the_best_iteration() -> None:
    """Trees after the best iteration are not among the compiled ones."""
    model = xgboost.XGBClassifier(**extreme(n_estimators=200, early_stopping_rounds=3))
    model.fit(IRIS[::2], SPECIES[::2], eval_set=[(IRIS[1::2], SPECIES[1::2])], verbose=False)
    assert 0 < model.best_iteration < 199
    pair = Pair(model, IRIS)
    pair.require_equal(BOX, tolerance=SINGLE)
    pair.require_equal(pair.beside_thresholds(), tolerance=SINGLE)


def test_xgboost_takes_a_value_for_missing() -> None:
    """A number that stands for missing is routed as missing."""
    rows = np.nan_to_num(NUMBERS)
    model = xgboost.XGBClassifier(n_estimators=10, n_jobs=1, missing=0).fit(rows, LABELS)
    Pair(model, rows).require_equal(tolerance=SINGLE)


def test_zeros_of_a_sparse_matrix_are_missing_to_xgboost() -> None:
    """Behind a one-hot encoder most values are zeros that the matrix does not hold."""
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["size", "count"]),
        (OneHotEncoder(handle_unknown="ignore"), ["plan", "code"]),
    )
    model = make_pipeline(columns, xgboost.XGBClassifier(n_estimators=15, n_jobs=1))
    model.fit(TABLE, LABELS)
    assert columns.fit(TABLE).sparse_output_
    Pair(model, TABLE).require_equal(tolerance=SINGLE)


@pytest.mark.parametrize(
    "options",
    [{}, {"grow_policy": "Lossguide"}, {"grow_policy": "Depthwise"}],
    ids=str,
)
def test_catboost_over_numbers_agrees(options: Any) -> None:
    """Symmetric trees and others, of three classes and of two."""
    for labels in (SPECIES, (SPECIES == 1).astype(int)):
        pair = Pair(catboost.CatBoostClassifier(**cat(**options)).fit(IRIS, labels), IRIS)
        pair.require_equal(BOX)
        pair.require_equal(pair.beside_thresholds())


@pytest.mark.parametrize("loss", ["RMSE", "MAE", "Poisson", "Tweedie:variance_power=1.5"])
def test_catboost_regressors_agree(loss: str) -> None:
    """Each loss has its link."""
    model = catboost.CatBoostRegressor(**cat(loss_function=loss)).fit(DIABETES, PROGRESS)
    Pair(model, DIABETES).require_equal()


@pytest.mark.parametrize(
    "options",
    [
        {"one_hot_max_size": 40},
        {"max_ctr_complexity": 1},
        {"iterations": 150, "depth": 4},
        {"nan_mode": "Max"},
    ],
    ids=str,
)
def test_catboost_over_strings_agrees(options: Any) -> None:
    """One-hot splits, statistics of categories and of combinations, unseen categories."""
    random = np.random.default_rng(2)
    table = pd.DataFrame(
        {
            "size": random.normal(size=500),
            "plan": random.choice(list("xyzuvw"), 500).astype(object),
            "count": random.integers(3, 12, 500),
            "other": random.normal(size=500),
            "city": random.choice([f"k{i}" for i in range(20)], 500).astype(object),
        }
    )
    labels = (table["size"] + 3 * (table.plan == "x") + table.city.isin(["k1", "k2"]) > 1).astype(
        int
    )
    table.loc[::5, "size"] = np.nan
    model = catboost.CatBoostClassifier(**cat(cat_features=["plan", "city"], **options))
    pair = Pair(model.fit(table, labels), table)
    pair.require_equal()
    rows = pair.rows()
    rows[::2, 4] = "elsewhere"
    pair.require_equal(rows)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda model: CalibratedClassifierCV(model, method="isotonic", cv=2),
        lambda model: StackingClassifier([("one", model)], cv=2),
        lambda model: make_pipeline(StandardScaler(), model),
    ],
)
@pytest.mark.parametrize(
    "model",
    [
        lightgbm.LGBMClassifier(**light(n_estimators=5)),
        xgboost.XGBClassifier(n_estimators=5, n_jobs=1),
        catboost.CatBoostClassifier(**cat(iterations=5)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_wrapped_boosters_agree(wrapped: Any, model: Any) -> None:
    """Inside of what scikit-learn makes of estimators."""
    Pair(wrapped(model).fit(CANCER, BENIGN), CANCER).require_equal(tolerance=1e-6)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lightgbm.LGBMClassifier(**light(linear_tree=True)), "LightGBM with linear trees"),
        (xgboost.XGBClassifier(booster="gblinear"), "XGBoost with booster gblinear"),
        (xgboost.XGBClassifier(objective="binary:hinge"), "binary:hinge"),
        (
            xgboost.XGBClassifier(objective="multi:softprob", num_class=2),
            "multi:softprob of two classes",
        ),
        (
            catboost.CatBoostRegressor(**cat(loss_function="RMSEWithUncertainty")),
            "CatBoost that predicts RMSEWithUncertainty",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_not_compiled_is_refused_with_the_reason(model: Any, reason: str) -> None:
    """Never guessed: the estimator serves then."""
    model.fit(CANCER, BENIGN)
    features = features_of(pd.DataFrame(CANCER).add_prefix("x"))
    with pytest.raises(CannotCompileError, match=re.escape(reason)):
        compiled_form(model, features, task_of(model))


def test_a_statistic_of_too_many_combinations_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its outcomes are looked up, which has a limit."""
    monkeypatch.setattr(catboost_lookups, "MOST_COMBINATIONS", 5)
    table = pd.DataFrame({"plan": RANDOM.choice(list("xyzuvw"), 200).astype(object)})
    model = catboost.CatBoostClassifier(**cat(cat_features=["plan"]))
    model.fit(table, table.plan.isin(["x", "y"]))
    with pytest.raises(CannotCompileError, match="combinations of categories"):
        compiled_form(model, features_of(table), task_of(model))
