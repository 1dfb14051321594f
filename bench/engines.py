"""Time of a model call, compiled and by the estimator itself, for kinds of estimators.

Run ``python -m bench.engines`` where xgboost, lightgbm and catboost are installed.
"""

import itertools
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris, make_classification, make_regression
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR, OneClassSVM
from threadpoolctl import threadpool_limits

from serve_app.model.artifact import Artifact
from serve_app.model.card import Compilation
from serve_app.model.loading import load_predictor
from serve_app.model.predictor import Predictor
from serve_app.packaging.package import package_model

ROWS = 4000
SHARE_OF_GAPS = 0.05
BATCH = 100
SECONDS = 0.4


class Case(NamedTuple):
    """An estimator to fit, and its data."""

    name: str
    estimator: Any
    table: Any
    target: Any


def mixed_table() -> tuple[Any, Any]:
    """Six columns of numbers with gaps, four of strings, and two classes."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(ROWS, 6)), columns=[f"n{i}" for i in range(6)])
    for place in range(4):
        values = [f"v{value}" for value in range(3 + 4 * place)]
        table[f"c{place}"] = random.choice(values, ROWS).astype(object)
    wanted = (table.n0 + (table.c1 == "v1") * 2 + random.normal(size=ROWS) > 0).astype(int)
    table = table.mask(random.random(table.shape) < SHARE_OF_GAPS)
    table[["c0", "c1", "c2", "c3"]] = table[["c0", "c1", "c2", "c3"]].fillna("v0")
    return table, wanted


def mixed_columns() -> Any:
    """Imputer and scaler for the numbers, one-hot for the strings, by name."""
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), [f"n{i}" for i in range(6)]),
        (OneHotEncoder(handle_unknown="ignore"), [f"c{i}" for i in range(4)]),
    )


def scaled(model: Any) -> Any:
    """The model behind a scaler."""
    return make_pipeline(StandardScaler(), model)


LOGISTIC = LogisticRegression(max_iter=1000)
FOREST = RandomForestClassifier(100, random_state=0, n_jobs=1)


def numbers() -> tuple[Any, Any]:
    """Twenty columns of numbers, and two classes."""
    rows, labels = make_classification(ROWS, 20, n_informative=10, random_state=0)
    return pd.DataFrame(rows).add_prefix("x"), labels


def amounts() -> tuple[Any, Any]:
    """Twenty columns of numbers, and a number."""
    rows, values = make_regression(ROWS, 20, noise=5, random_state=0)
    return pd.DataFrame(rows).add_prefix("x"), values


def two_amounts() -> tuple[Any, Any]:
    """Twenty columns of numbers, and two numbers."""
    rows, values = make_regression(ROWS, 20, n_targets=2, noise=5, random_state=0)
    return pd.DataFrame(rows).add_prefix("x"), values


def three_classes() -> Any:
    """Labels of three classes."""
    return make_classification(ROWS, 20, n_informative=10, n_classes=3, random_state=0)[1]


def with_categories() -> tuple[Any, Any]:
    """The mixed table with strings of a categorical dtype."""
    table, labels = mixed_table()
    return table.astype({f"c{i}": "category" for i in range(4)}), labels


def scikit_trees() -> Iterator[Case]:
    """Trees of scikit-learn."""
    iris = load_iris(as_frame=True)
    table, labels = numbers()
    gaps = table.mask(np.random.default_rng(1).random(table.shape) < SHARE_OF_GAPS)
    histogram = HistGradientBoostingClassifier(max_iter=300)
    strings = HistGradientBoostingClassifier(max_iter=300, categorical_features="from_dtype")
    yield Case("Iris: random forest of 100", FOREST, iris.data, iris.target)
    yield Case("random forest of 100, binary", FOREST, table, labels)
    yield Case("gradient boosting 300", GradientBoostingClassifier(n_estimators=300), table, labels)
    yield Case("HistGradientBoosting 300, binary", histogram, table, labels)
    yield Case("HistGradientBoosting 300, gaps", histogram, gaps, labels)
    yield Case("HistGradientBoosting 300, 3 classes", histogram, table, three_classes())
    yield Case("HistGradientBoosting 300, strings", strings, *with_categories())
    regressor = HistGradientBoostingRegressor(max_iter=300)
    yield Case("HistGradientBoosting 300, regression", regressor, *amounts())
    yield Case("random forest 100, regression", RandomForestRegressor(100), *amounts())
    yield Case("extra trees 100, regression", ExtraTreesRegressor(100), *amounts())


def boosters() -> Iterator[Case]:
    """Boosters of other libraries, 300 iterations each."""
    import catboost
    import lightgbm
    import xgboost

    table, labels = numbers()
    light: dict[str, Any] = {"n_estimators": 300, "verbose": -1, "n_jobs": 1}
    extreme: dict[str, Any] = {"n_estimators": 300, "n_jobs": 1}
    quiet: dict[str, Any] = {"verbose": 0, "allow_writing_files": False, "thread_count": 1}
    cat = catboost.CatBoostClassifier
    strings = [f"c{i}" for i in range(4)]
    yield Case("LightGBM 300, binary", lightgbm.LGBMClassifier(**light), table, labels)
    yield Case("LightGBM 300, categories", lightgbm.LGBMClassifier(**light), *with_categories())
    yield Case("LightGBM 300, regression", lightgbm.LGBMRegressor(**light), *amounts())
    boosted = make_pipeline(mixed_columns(), lightgbm.LGBMClassifier(**light))
    yield Case("mixed: imputer, one-hot, LightGBM", boosted, *mixed_table())
    yield Case("XGBoost 300, binary", xgboost.XGBClassifier(**extreme), table, labels)
    yield Case("XGBoost 300, 3 classes", xgboost.XGBClassifier(**extreme), table, three_classes())
    yield Case("XGBoost 300, regression", xgboost.XGBRegressor(**extreme), *amounts())
    yield Case("CatBoost 300, binary", cat(iterations=300, **quiet), table, labels)
    with_strings = cat(iterations=300, cat_features=strings, **quiet)
    yield Case("CatBoost 300, strings", with_strings, *mixed_table())


def plain_estimators() -> Iterator[Case]:
    """Linear models, likelihoods, networks, support vectors, neighbours."""
    iris = load_iris(as_frame=True)
    table, labels = numbers()
    yield Case("Iris: scaler + logistic regression", scaled(LOGISTIC), iris.data, iris.target)
    yield Case("mixed: imputer, one-hot, logistic", mixed_pipeline(), *mixed_table())
    yield Case("linear regression", LinearRegression(), *amounts())
    yield Case("linear regression, two targets", LinearRegression(), *two_amounts())
    yield Case("naive Bayes", GaussianNB(), table, labels)
    yield Case("scaler + MLP, regression", scaled(MLPRegressor(max_iter=20)), *amounts())
    yield Case("scaler + SVC", scaled(SVC()), table, labels)
    yield Case("scaler + SVR", scaled(SVR()), *amounts())
    yield Case("nearest neighbours", KNeighborsClassifier(), table, labels)


def made_of_others() -> Iterator[Case]:
    """Estimators that hold estimators, and several outputs."""
    table, labels = numbers()
    several = np.column_stack([labels, three_classes() > 0])
    calibrated = CalibratedClassifierCV(FOREST, method="isotonic", cv=3)
    yield Case("calibrated random forest", calibrated, table, labels)
    threshold = FixedThresholdClassifier(scaled(LOGISTIC), threshold=0.3)
    yield Case("threshold + logistic regression", threshold, table, labels)
    tuned = TunedThresholdClassifierCV(mixed_pipeline(), cv=3)
    yield Case("tuned threshold, mixed", tuned, *mixed_table())
    members = [("f", FOREST), ("l", scaled(LOGISTIC))]
    yield Case("stack of forest and logistic", StackingClassifier(members, cv=3), table, labels)
    vote = VotingClassifier(members, voting="soft")
    yield Case("vote of forest and logistic", vote, table, labels)
    search = GridSearchCV(scaled(LOGISTIC), {"logisticregression__C": [0.1, 1.0]}, cv=3)
    yield Case("grid search of logistic", search, table, labels)
    chosen = RandomForestClassifier(100, random_state=0)
    yield Case("random forest of 100, two outputs", chosen, table, several)
    yield Case("multi-label logistic", OneVsRestClassifier(LOGISTIC), table, several)


def without_target() -> Iterator[Case]:
    """Outlier detectors and clusters."""
    table, _ = numbers()
    yield Case("isolation forest of 100", IsolationForest(random_state=0), table, None)
    yield Case("one-class SVM", scaled(OneClassSVM(nu=0.05)), table, None)
    yield Case("k-means of 8", KMeans(8, n_init=1, random_state=0), table, None)
    yield Case("mixture of 4 Gaussians", GaussianMixture(4, random_state=0), table, None)


def texts() -> Iterator[Case]:
    """Vectorizers of one text column."""
    random = np.random.default_rng(0)
    words = [f"word{number}" for number in range(5000)]
    table = pd.Series([" ".join(random.choice(words, 40)) for _ in range(2000)], name="text")
    starts_low = table.str[4].astype(int).to_numpy() < len("word") + 1
    vectorized = make_pipeline(TfidfVectorizer(), LOGISTIC)
    yield Case("TF-IDF of 5000 terms, logistic", vectorized, table, starts_low)
    counted = make_pipeline(CountVectorizer(), MultinomialNB())
    yield Case("5000 terms, naive Bayes", counted, table, starts_low)


def with_samplers() -> Iterator[Case]:
    """Pipelines and ensembles of imbalanced-learn."""
    from imblearn.ensemble import BalancedRandomForestClassifier
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.pipeline import make_pipeline as make_sampling_pipeline

    sampled = make_sampling_pipeline(mixed_columns(), RandomOverSampler(random_state=0), LOGISTIC)
    yield Case("mixed: over-sampled logistic", sampled, *mixed_table())
    forest = BalancedRandomForestClassifier(100, random_state=0)
    yield Case("balanced random forest of 100", forest, *numbers())


def mixed_pipeline() -> Any:
    """Imputer, scaler, one-hot encoder and logistic regression."""
    return make_pipeline(mixed_columns(), LOGISTIC)


def microseconds(call: Callable[[int], object]) -> float:
    """Median of the time of a call, over `SECONDS`."""
    times = []
    end = time.perf_counter() + SECONDS
    number = 0
    while time.perf_counter() < end or number < 5:
        started = time.perf_counter_ns()
        call(number)
        times.append(time.perf_counter_ns() - started)
        number += 1
    return statistics.median(times) / 1000


def timed(predictor: Predictor, rows: Any) -> tuple[float, float]:
    """Microseconds of one row, and rows a second in batches of `BATCH`."""
    one = microseconds(lambda number: predictor.predict(rows[number % len(rows)][np.newaxis]))
    starts = range(0, len(rows) - BATCH, BATCH)
    batch = microseconds(
        lambda number: predictor.predict(
            rows[starts[number % len(starts)] : starts[number % len(starts)] + BATCH]
        )
    )
    return one, BATCH / batch * 1e6


def main() -> None:
    """Fit, package, load and time each case, with one thread as a replica has."""
    warnings.simplefilter("ignore")
    threadpool_limits(limits=1)
    columns = "| estimator | task | engine | route | rows compared | thresholds | boundary pairs "
    print(f"{columns}| one row µs | itself | 100 rows/s | itself |")
    print("|---" * 11 + "|")
    for case in itertools.chain(
        plain_estimators(),
        made_of_others(),
        without_target(),
        texts(),
        scikit_trees(),
        boosters(),
        with_samplers(),
    ):
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder) / "model"
            estimator = case.estimator.fit(case.table, case.target)
            card = package_model(
                estimator, directory, training_data=case.table, report=lambda _: None
            )
            artifact = Artifact.open(directory)
            rows = _rows(card, case.table)
            one, many = timed(load_predictor(artifact), rows)
            own_one, own_many = timed(load_predictor(artifact, "sklearn"), rows[:1000])
        print(
            f"| {case.name} | {card.task.name} | {_engine(card.compilation)} "
            f"| {one:.1f} | {own_one:.0f} | {many:,.0f} | {own_many:,.0f} |",
            flush=True,
        )


def _engine(made: Compilation) -> str:
    """Engine, route and coverage."""
    if made.agreement is None:
        return f"{made.engine} | {made.reason[:60]} | 0 | 0 | 0"
    coverage = made.agreement.coverage
    probed = f"{coverage.thresholds_probed:,} of {coverage.thresholds:,}"
    return (
        f"{made.engine} | {made.route} | {made.agreement.rows_compared:,} "
        f"| {probed if coverage.thresholds else 0} | {coverage.boundary_pairs}"
    )


def _rows(card: Any, table: Any) -> Any:
    from serve_app.packaging.rows import encode

    frame = table.to_frame() if isinstance(table, pd.Series) else table
    return encode(frame[list(card.feature_names)], card.features)


if __name__ == "__main__":
    main()
