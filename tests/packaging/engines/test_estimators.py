"""Estimators but trees: linear ones, support vectors, and those made of others."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from imblearn.ensemble import BalancedBaggingClassifier, BalancedRandomForestClassifier
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import AffinityPropagation, Birch, KMeans, MeanShift, MiniBatchKMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.covariance import EllipticEnvelope
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.ensemble import (
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier

from serve_app.model.tasks import MultiOutput, Output, Regression
from serve_app.packaging.compiler import compiled_form
from serve_app.packaging.engines.graph import CannotCompileError
from tests.support.compiled import Pair, features_of, task_of

IRIS, SPECIES = load_iris(return_X_y=True)
CANCER, BENIGN = load_breast_cancer(return_X_y=True)
CANCER = CANCER[:, :10]
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
RANDOM = np.random.default_rng(0)
BOX = RANDOM.uniform(IRIS.min(axis=0) - 1, IRIS.max(axis=0) + 1, size=(300, 4))


def scaled(model: Any) -> Any:
    return make_pipeline(StandardScaler(), model)


def logistic() -> Any:
    return scaled(LogisticRegression())


def forest() -> Any:
    return RandomForestClassifier(6, random_state=0)


CLASSIFIERS = [
    LogisticRegression(),
    SGDClassifier(loss="log_loss", random_state=0),
    SGDClassifier(loss="modified_huber", random_state=0),
    Perceptron(),
    RidgeClassifier(),
    LinearSVC(),
    LinearDiscriminantAnalysis(),
    SVC(),
    SVC(kernel="poly", break_ties=True),
    SVC(kernel="sigmoid", decision_function_shape="ovo"),
    NuSVC(kernel="linear"),
    CalibratedClassifierCV(LinearSVC(), cv=2),
    CalibratedClassifierCV(forest(), method="isotonic", cv=2),
    CalibratedClassifierCV(LogisticRegression(), method="temperature", cv=2),
    VotingClassifier([("a", logistic()), ("b", forest())], voting="soft", weights=[2, 1]),
    VotingClassifier([("a", logistic()), ("b", forest()), ("c", DecisionTreeClassifier())]),
    StackingClassifier([("a", logistic()), ("b", forest()), ("c", LinearSVC())], cv=2),
    StackingClassifier([("b", forest())], passthrough=True, cv=2, final_estimator=forest()),
    StackingClassifier([("b", forest())], stack_method="predict", cv=2),
    GridSearchCV(logistic(), {"logisticregression__C": [0.1, 1.0]}, cv=2),
    OneVsRestClassifier(LogisticRegression()),
    OneVsRestClassifier(forest()),
    BalancedRandomForestClassifier(5, random_state=0, replacement=True, bootstrap=False),
    BalancedBaggingClassifier(n_estimators=3, random_state=0),
    make_sampling_pipeline(RandomOverSampler(random_state=0), LogisticRegression(max_iter=500)),
]


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda each: repr(each)[:50].replace("\n", ""))
def test_classifiers_agree(model: Any) -> None:
    """Of three classes and of two: labels are equal, probabilities differ by rounding."""
    Pair(scaled(model).fit(IRIS, SPECIES), IRIS).require_equal(BOX, tolerance=1e-11)
    Pair(scaled(model).fit(CANCER, BENIGN), CANCER).require_equal(tolerance=1e-11)


@pytest.mark.parametrize(
    "model",
    [
        FixedThresholdClassifier(logistic(), threshold=0.3),
        FixedThresholdClassifier(logistic(), threshold=0.3, pos_label=0),
        FixedThresholdClassifier(LinearSVC(), threshold=0.1, pos_label=0),
        FixedThresholdClassifier(scaled(LinearSVC())),
        TunedThresholdClassifierCV(logistic(), cv=2),
    ],
    ids=lambda each: repr(each)[:60],
)
def test_thresholds_decide_labels(model: Any) -> None:
    """The label follows the threshold, not the most probable class."""
    Pair(model.fit(CANCER, BENIGN), CANCER).require_equal()


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        PoissonRegressor(),
        TweedieRegressor(power=0),
        SVR(),
        VotingRegressor([("a", Ridge()), ("b", RandomForestRegressor(4))], weights=[1, 3]),
        StackingRegressor([("a", Ridge()), ("b", RandomForestRegressor(4))], cv=2),
        TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
    ],
    ids=lambda each: repr(each)[:60],
)
def test_regressors_agree(model: Any) -> None:
    """Each with its link, or the inverse of what was done to the target."""
    Pair(model.fit(DIABETES, PROGRESS), DIABETES).require_equal()


def test_several_outputs_agree() -> None:
    """One classifier or regressor for each output."""
    labels = np.column_stack([SPECIES == 0, SPECIES > 0]).astype(int)
    task = MultiOutput(
        outputs=(Output(name="a", classes=(0, 1)), Output(name="b", classes=(0, 1))),
        has_probabilities=True,
    )
    for model in (MultiOutputClassifier(logistic()), OneVsRestClassifier(logistic())):
        Pair(model.fit(IRIS, labels), IRIS, task=task).require_equal(BOX)
    targets = np.column_stack([PROGRESS, -PROGRESS])
    for regressor in (LinearRegression(), MultiOutputRegressor(Ridge())):
        model = regressor.fit(DIABETES, targets)
        Pair(model, DIABETES, task=Regression(targets=("a", "b"))).require_equal()


@pytest.mark.parametrize("model", [OneClassSVM(gamma=0.1), EllipticEnvelope(random_state=0)])
def test_outlier_detectors_agree(model: Any) -> None:
    """Whether a row is an outlier, and by how much."""
    Pair(model.fit(IRIS), IRIS).require_equal(BOX, tolerance=1e-10)


@pytest.mark.parametrize(
    "model",
    [
        GaussianNB(),
        BernoulliNB(binarize=1.4),
        MultinomialNB(),
        ComplementNB(),
        QuadraticDiscriminantAnalysis(),
        MLPClassifier(max_iter=30, random_state=0),
        MLPClassifier(activation="tanh", max_iter=30, random_state=0),
    ],
    ids=lambda each: repr(each)[:40],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "labels",
    [np.array(["a", "b", "c"], object)[SPECIES], SPECIES == 1],
    ids=["strings", "booleans"],
)
def test_likelihoods_and_networks_agree(model: Any, labels: Any) -> None:
    """Of three classes and of two, also beside the value at which a column becomes a truth."""
    beside = np.where(BOX > 1.4, np.nextafter(1.4, 9), 1.4)
    pair = Pair(clone(model).fit(IRIS, labels), IRIS)
    pair.require_equal(np.abs(BOX), tolerance=1e-9)
    pair.require_equal(beside, tolerance=1e-9)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("mixture", [GaussianMixture, BayesianGaussianMixture])
def test_mixtures_agree(mixture: Any, kind: str) -> None:
    """The component of every row, for each form of the covariances."""
    model = mixture(n_components=3, covariance_type=kind, random_state=0, max_iter=500)
    Pair(model.fit(IRIS), IRIS).require_equal(BOX)


@pytest.mark.parametrize(
    "model",
    [
        KMeans(3, n_init=1, random_state=0),
        MiniBatchKMeans(3, n_init=1, random_state=0),
        MeanShift(),
        AffinityPropagation(random_state=0),
        Birch(n_clusters=3),
    ],
    ids=lambda each: type(each).__name__,
)
def test_clusters_agree(model: Any) -> None:
    """The nearest centre, or the cluster that it belongs to."""
    Pair(model.fit(IRIS), IRIS).require_equal(BOX)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_networks_of_numbers_agree() -> None:
    """One target and two."""
    for targets, names in (
        (PROGRESS, ("a",)),
        (np.column_stack([PROGRESS, -PROGRESS]), ("a", "b")),
    ):
        model = MLPRegressor(max_iter=20, random_state=0).fit(DIABETES, targets)
        Pair(model, DIABETES, task=Regression(targets=names)).require_equal(tolerance=1e-9)


class _Own(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of a user."""

    classes_ = np.array([0, 1])

    def predict(self, rows: Any) -> Any:
        """Zero for each row."""
        return np.zeros(len(rows), int)


class _OwnForest(RandomForestClassifier):  # type: ignore[misc]
    """May do anything."""


@pytest.mark.parametrize(
    "model",
    [_Own(), _OwnForest(2), NearestCentroid(), KNeighborsClassifier()],
    ids=lambda each: type(each).__name__,
)
def test_what_cannot_be_compiled_is_refused_with_the_reason(model: Any) -> None:
    """A class of a user's own may do anything; equally near neighbours have no order to keep."""
    if not isinstance(model, _Own):
        model.fit(IRIS, SPECIES > 0)
    features = features_of(pd.DataFrame(IRIS).add_prefix("x"))
    with pytest.raises(CannotCompileError, match=f"no compiled form of {type(model).__name__}"):
        compiled_form(model, features, task_of(model))
