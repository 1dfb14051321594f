"""Trees of scikit-learn: every comparison and every sum has the outcome that it has there."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from serve_app.model.tasks import MultiOutput, Output, Regression
from serve_app.packaging.compiler import thresholds
from tests.support.compiled import Pair, task_of

IRIS, SPECIES = load_iris(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
RANDOM = np.random.default_rng(0)
GAPS = np.where(RANDOM.random(IRIS.shape) < 0.2, np.nan, IRIS)
BOX = RANDOM.uniform(IRIS.min(axis=0) - 1, IRIS.max(axis=0) + 1, size=(500, 4))

CLASSIFIERS = [
    DecisionTreeClassifier(random_state=0),
    # An even number of trees makes ties, which the order of a sum decides.
    RandomForestClassifier(10, random_state=0),
    RandomForestClassifier(10, min_samples_leaf=5, random_state=0),
    ExtraTreesClassifier(7, max_depth=3, random_state=0),
    GradientBoostingClassifier(n_estimators=8, random_state=0),
    GradientBoostingClassifier(n_estimators=5, init="zero", random_state=0),
    HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=5),
    AdaBoostClassifier(n_estimators=8, random_state=0),
    BaggingClassifier(n_estimators=4, random_state=0),
    BaggingClassifier(LogisticRegression(max_iter=500), max_features=0.5, random_state=0),
]


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=repr)
def test_classifiers_agree_everywhere_and_beside_every_threshold(estimator: Any) -> None:
    """Labels are equal and probabilities differ by rounding only, on all kinds of rows."""
    pair = Pair(estimator.fit(IRIS, SPECIES), IRIS)
    for rows in (pair.rows(), BOX, pair.beside_thresholds()):
        if len(rows):
            pair.require_equal(rows)


@pytest.mark.parametrize("estimator", CLASSIFIERS[:7], ids=repr)
def test_two_classes_are_decided_as_the_library_does(estimator: Any) -> None:
    """Binary classifiers have one score instead of one for each class."""
    pair = Pair(estimator.fit(IRIS, SPECIES == 1), IRIS)
    pair.require_equal(BOX)


@pytest.mark.parametrize("estimator", [CLASSIFIERS[place] for place in (0, 1, 3, 6)], ids=repr)
def test_missing_values_take_the_branch_that_training_gave_them(estimator: Any) -> None:
    """NaN goes left or right by node, also in columns that had none in training."""
    estimator.fit(GAPS, SPECIES)
    gaps = np.where(RANDOM.random(BOX.shape) < 0.3, np.nan, BOX)
    Pair(estimator, GAPS).require_equal(gaps)


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeRegressor(max_depth=6),
        RandomForestRegressor(6, random_state=0),
        GradientBoostingRegressor(n_estimators=10, random_state=0),
        HistGradientBoostingRegressor(max_iter=10),
        HistGradientBoostingRegressor(max_iter=10, loss="poisson"),
    ],
    ids=repr,
)
def test_regressors_agree(estimator: Any) -> None:
    """Sums are taken in double precision and in the order of the trees."""
    pair = Pair(estimator.fit(DIABETES, PROGRESS), DIABETES)
    pair.require_equal()
    pair.require_equal(pair.beside_thresholds())


def test_forests_have_the_same_bits() -> None:
    """Nothing is rounded otherwise: averages of 30 trees are equal in every bit."""
    forest = RandomForestClassifier(30, min_samples_leaf=3, random_state=0).fit(IRIS, SPECIES)
    Pair(forest, IRIS).require_equal(BOX, tolerance=0)


def test_several_outputs_of_a_forest() -> None:
    """Leaves with several outputs are added to each of them."""
    labels = np.column_stack([SPECIES, SPECIES == 1])
    forest = RandomForestClassifier(5, max_depth=3, random_state=0).fit(IRIS, labels)
    task = MultiOutput(
        outputs=(Output(name="a", classes=(0, 1, 2)), Output(name="b", classes=(0, 1))),
        has_probabilities=True,
    )
    Pair(forest, IRIS, task=task).require_equal(BOX)
    targets = np.column_stack([PROGRESS, PROGRESS**2])
    trees = RandomForestRegressor(5, random_state=0).fit(DIABETES, targets)
    Pair(trees, DIABETES, task=Regression(targets=("a", "b"))).require_equal()


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_isolation_forests_agree(share: float) -> None:
    """Depths are added, also where each tree sees some of the columns."""
    forest = IsolationForest(n_estimators=20, max_features=share, contamination=0.1, random_state=0)
    Pair(forest.fit(IRIS), IRIS).require_equal(BOX)


def test_categories_of_boosted_trees_are_sets() -> None:
    """Columns of a categorical dtype, codes as numbers, missing and unseen categories."""
    random = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "size": random.normal(size=600),
            "plan": pd.Categorical(random.choice(["basic", "pro", "max"], 600)),
            "city": pd.Categorical(random.choice(list("abcdefghijkl"), 600)),
            "code": pd.Categorical(random.integers(3, 40, 600)),
        }
    )
    table.loc[random.random(600) < 0.2, ["plan", "code"]] = np.nan
    wanted = (table.city.isin(list("aceg")) ^ (table["size"] > 0)) | (table.plan == "pro")
    model = HistGradientBoostingClassifier(max_iter=15, categorical_features="from_dtype")
    pair = Pair(model.fit(table, wanted), table)
    pair.require_equal()
    rows = pair.rows()
    rows[::3, 2] = "elsewhere"
    pair.require_equal(rows)

    codes = np.column_stack([table["size"], random.integers(0, 20, 600)]).astype(float)
    model = HistGradientBoostingClassifier(max_iter=15, categorical_features=[1])
    pair = Pair(model.fit(codes, (codes[:, 1] % 3 == 0) ^ (codes[:, 0] > 0)), codes)
    codes[::2, 1] = random.integers(0, 30, 300)
    pair.require_equal(codes)


def test_trees_behind_a_scaler_have_no_thresholds_of_features() -> None:
    """Only what reads a feature as it is can be probed."""
    forest = RandomForestClassifier(3, random_state=0)
    pair = Pair(make_pipeline(StandardScaler(), forest).fit(IRIS, SPECIES), IRIS)
    pair.require_equal(BOX)
    assert thresholds(pair.estimator, pair.features, pair.task) == {}
    alone = thresholds(forest.fit(IRIS, SPECIES), pair.features, pair.task)
    nodes = [tree.tree_ for tree in forest.estimators_]
    used = {int(feature) for node in nodes for feature in node.feature if feature >= 0}
    assert set(alone) == used
    of_first = [node.threshold[node.feature == 0] for node in nodes]
    assert len(alone[0]) <= len(np.unique(np.concatenate(of_first)))


def test_equal_models_have_equal_bytes() -> None:
    """The version of a model follows its bytes."""
    models = [
        Pair(RandomForestClassifier(5, random_state=0).fit(IRIS, SPECIES), IRIS).form.model
        for _ in range(2)
    ]
    assert models[0] == models[1]


NUMBERS = st.floats(-1e30, 1e30) | st.sampled_from([0.0, -0.0, 0.5, 1.0, np.nan])
SMALL = RANDOM.choice([0.0, 0.1, 0.25, 0.5, 0.7, 1.0, np.nan], size=(120, 3))
FITTED = {
    type(model).__name__: Pair(model.fit(SMALL, RANDOM.integers(0, 3, 120)), SMALL, task=None)
    for model in (
        RandomForestClassifier(8, random_state=0),
        HistGradientBoostingClassifier(max_iter=6, min_samples_leaf=2),
    )
}


@pytest.mark.parametrize("name", FITTED)
@given(rows=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_any_number_that_a_request_can_carry_takes_the_same_path(name: str, rows: Any) -> None:
    """Huge, tiny and missing numbers included."""
    FITTED[name].require_equal(np.array(rows))


def test_labels_of_any_type_are_positions_in_the_classes() -> None:
    """Strings and booleans come back as the estimator has them."""
    for labels in (np.array(["a", "b", "c"])[SPECIES], SPECIES == 2, SPECIES.astype(float)):
        forest = RandomForestClassifier(3, random_state=0).fit(IRIS, labels)
        pair = Pair(forest, IRIS, task=task_of(forest))
        pair.require_equal(BOX)
