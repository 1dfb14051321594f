"""Any fitted estimator that predicts over a table becomes a model directory, or a clear refusal."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.dummy import DummyClassifier
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
from serve_app.model.card import MODEL_FILE, Engine, ModelCard
from serve_app.model.features import Feature
from serve_app.model.loading import load_predictor
from serve_app.packaging.package import Packaged as Written
from serve_app.packaging.package import package, package_model
from serve_app.packaging.rows import encode
from serve_app.packaging.summary import summary
from serve_app.packaging.tables import PackagingError
from tests.support.models import ESTIMATORS, WITHOUT_PROBABILITIES, Packaged
from tests.support.tables import day_of_month

ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
LABELS = np.array([0, 0, 1, 1])
FEATURES = [Feature(name=name, minimum=0, maximum=3) for name in ("a", "b")]

GENERATOR = np.random.default_rng(0)
PEOPLE = pd.DataFrame(
    {
        "age": GENERATOR.integers(18, 80, size=300),
        "income": GENERATOR.lognormal(3, 1, size=300),
        "plan": GENERATOR.choice(["basic", "pro", "team"], size=300),
        "member": GENERATOR.random(300) < 0.5,
    }
)
GAPS = PEOPLE.assign(
    income=PEOPLE["income"].mask(GENERATOR.random(300) < 0.1),
    plan=PEOPLE["plan"].mask(GENERATOR.random(300) < 0.1),
)
CODED = GAPS.assign(plan=GAPS["plan"].astype("category"))
LIKES = (PEOPLE["age"] * 0.02 + (PEOPLE["plan"] == "pro") > 1.2).astype(int)
SPENDS = PEOPLE["age"] * 2.0 + PEOPLE["income"]
NUMBERS = PEOPLE[["age", "income"]]
CANCER = load_breast_cancer(as_frame=True)
CODES = pd.DataFrame(
    {"code": GENERATOR.integers(1, 5, size=300), "value": GENERATOR.normal(size=300)}
)
QUIET = {"verbose": 0, "cat_features": ["plan"], "allow_writing_files": False}
SUGAR = load_diabetes(as_frame=True)
TEXTS = pd.Series(
    [f"a {word} film" for word in GENERATOR.choice(["good", "bad", "long", "great"], size=300)]
)
PRAISE = TEXTS.str.contains("good|great").astype(int)


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


def kinds(card: ModelCard) -> str:
    """Kinds of a card's columns, as `Case` has them."""
    return " ".join(
        each.kind[0]
        + ("?" if each.nullable else "")
        + ("!" if each.kind == "category" and not each.unseen_allowed else "")
        for each in card.features
    )


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


@pytest.fixture(scope="module")
def fitted() -> LogisticRegression:
    return LogisticRegression().fit(ROWS, LABELS)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_card_describes_the_estimator(packaged: Callable[[str], Packaged], name: str) -> None:
    """Features, classes, training data and a sample are recorded as the estimator has them."""
    fitted, card = packaged(name).fitted, packaged(name).artifact.card
    task = card.task
    assert task.name == "classification"
    assert task.classes == tuple(fitted.estimator.classes_.tolist())
    assert task.has_probabilities == (name not in WITHOUT_PROBABILITIES)
    assert [feature.minimum for feature in card.features] == fitted.rows.min(axis=0).tolist()
    assert [feature.maximum for feature in card.features] == fitted.rows.max(axis=0).tolist()
    assert card.training_data is not None
    assert card.training_data.rows == len(fitted.rows)
    assert list(card.sample.instance.values()) == fitted.rows[0].tolist()
    assert card.sample.answer["predicted_class"] == fitted.estimator.predict(fitted.rows[:1])[0]
    assert {"scikit-learn", "numpy", "onnxruntime", "python"} <= set(card.libraries)
    assert card.fitted_with == card.libraries["scikit-learn"]


def test_reordered_columns_are_put_in_order(tmp_path: Path) -> None:
    """The card has the estimator's order; whatever order the rows came in, answers are right."""
    table = load_iris(as_frame=True).data
    estimator = LogisticRegression(max_iter=1000).fit(table, load_iris().target)
    reordered = table[table.columns[::-1]]
    card = package_model(estimator, tmp_path / "model", training_data=reordered)
    assert card.feature_names == tuple(table.columns)
    predictor = load_predictor(Artifact.open(tmp_path / "model"))
    assert predictor.predict(table.to_numpy()).values == estimator.predict(table).tolist()


def test_a_user_corrects_some_columns(tmp_path: Path) -> None:
    """What is not said is inferred; outputs have the names that are given."""
    estimator = LinearRegression().fit(NUMBERS, np.column_stack([SPENDS, SPENDS]))
    card = package_model(
        estimator,
        tmp_path / "model",
        training_data=NUMBERS,
        features={"age": {"kind": "number", "unit": "years", "maximum": 120}},
        targets=["low", "high"],
    )
    age, income = card.features
    assert (age.kind, age.unit, age.maximum) == ("number", "years", 120)
    assert (income.kind, income.unit) == ("number", None)
    assert list(card.sample.answer["prediction"]) == ["low", "high"]


def test_the_card_says_where_training_rows_had_gaps(tmp_path: Path) -> None:
    """An imputer answers gaps that training had not; without training rows none is known."""
    table = NUMBERS.assign(age=NUMBERS["age"].astype(float).where(NUMBERS.index > 0))
    estimator = make_pipeline(SimpleImputer(), LinearRegression()).fit(table, SPENDS)
    card = package_model(estimator, tmp_path / "model", training_data=table)
    assert [each.nullable for each in card.features] == [True, True]
    assert [each.gaps_in_training for each in card.features] == [True, False]
    ranges = {name: {"minimum": 0, "maximum": 1} for name in table}
    card = package_model(estimator, str(tmp_path / "model"), features=ranges)
    assert [each.gaps_in_training for each in card.features] == [None, None]


@pytest.mark.parametrize("passed", [False, True], ids=["dropped", "passed on"])
def test_datetimes_and_texts_that_no_step_reads_do_not_prevent_the_compiled_form(
    tmp_path: Path, *, passed: bool
) -> None:
    """The compiled form answers as the estimator; where a step gets them, the card says why not."""
    table = NUMBERS.assign(
        since=pd.date_range("2024-01-01", periods=len(NUMBERS), freq="h"),
        note=[f"note {row}" for row in range(len(NUMBERS))],
    )[["since", "age", "note", "income"]]
    columns = make_column_transformer(
        ("passthrough", ["age", "income"]),
        (FunctionTransformer(day_of_month), ["since"] if passed else []),
    )
    estimator = make_pipeline(columns, LinearRegression()).fit(table, SPENDS)
    card = package_model(estimator, tmp_path / "model", training_data=table)
    assert [each.kind for each in card.features][0::2] == ["datetime", "text"]
    assert card.compilation.engine == ("sklearn" if passed else "onnx"), card.compilation.reason
    predictor = load_predictor(Artifact.open(tmp_path / "model"))
    rows = encode(table, card.features)[:20]
    expected = estimator.predict(table[:20]).reshape(-1, 1)
    np.testing.assert_allclose(predictor.predict(rows).values, expected, rtol=1e-9)
    np.testing.assert_allclose(predictor.predict(rows[7:8]).values, expected[7:8], rtol=1e-9)


def test_what_is_known_of_the_model_is_recorded(fitted: LogisticRegression, tmp_path: Path) -> None:
    """Name and metrics are the caller's; without training data the card says there is none."""
    card = package_model(
        fitted, tmp_path / "model", features=FEATURES, name="mine", metrics={"auc": 0.9}
    )
    assert (card.name, card.metrics, card.training_data) == ("mine", {"auc": 0.9}, None)
    assert set(card.sample.instance) == {"a", "b"}


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


def test_rows_with_gaps_that_are_refused_are_left_out(tmp_path: Path) -> None:
    """The estimator was fitted on the complete rows; how many others there are is told."""
    complete = GAPS[["age", "income"]].dropna()
    estimator = LogisticRegression().fit(complete, LIKES[complete.index])
    said: list[str] = []
    card = package_model(
        estimator, tmp_path / "model", training_data=GAPS[["age", "income"]], report=said.append
    )
    assert kinds(card) == "i n"
    missing = len(GAPS) - len(complete)
    assert any(f"{missing} of 300 training rows have missing values" in line for line in said)


@pytest.mark.parametrize(
    "data", [PEOPLE[["age", "income"]][:1], pd.concat([PEOPLE[["age", "income"]][:1]] * 50)]
)
def test_a_degenerate_proof_is_none(tmp_path: Path, data: Any) -> None:
    """scikit-learn serves, and the card says how little there was to compare."""
    card = package_model(
        LogisticRegression().fit(NUMBERS, LIKES), tmp_path / "model", training_data=data
    )
    assert card.compilation.engine == "sklearn"
    assert "only 0 of 2 columns vary in the data" in card.compilation.reason


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


@pytest.mark.parametrize(
    ("estimator", "options", "message"),
    [
        (LogisticRegression(), {}, "LogisticRegression is not fitted: call fit first"),
        (DummyClassifier().fit(ROWS, LABELS * 0), {}, "the one class 0 only"),
        (LogisticRegression().fit(ROWS[:, :1], LABELS), {}, "features has 2, estimator has 1"),
        (
            LogisticRegression().fit(ROWS, LABELS),
            {"training_data": ROWS[:, :1]},
            "features has 2, training_data has 1",
        ),
        (
            LogisticRegression().fit(ROWS, LABELS),
            {"training_data": ROWS * 1e31 + 1e31, "features": {"a": {}, "b": {}}},
            r"'a'.*: .*less than or equal to 10{30}",
        ),
        (LogisticRegression().fit(ROWS, LABELS), {"features": FEATURES[:1] * 2}, "repeated: a"),
        (LogisticRegression().fit(ROWS, LABELS), {"features": None}, "or training_data"),
        (LogisticRegression().fit(ROWS, LABELS), {"metrics": {"auc": np.nan}}, r"metrics\.auc"),
        (
            LogisticRegression().fit(pd.DataFrame(ROWS, columns=["a", "c"]), LABELS),
            {},
            "fitted on a, c; given are a, b",
        ),
        (
            make_pipeline(FunctionTransformer(lambda rows: rows), LogisticRegression()).fit(
                ROWS, LABELS
            ),
            {},
            "cannot be written to a file: .*lambda.*; use named functions and classes",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(
    tmp_path: Path, estimator: Any, options: dict[str, Any], message: str
) -> None:
    """The refusal names value and fix in one line, and nothing is written."""
    with pytest.raises(PackagingError, match=message) as info:
        package_model(estimator, tmp_path / "model", **{"features": FEATURES, **options})
    assert "\n" not in str(info.value)
    assert not list(tmp_path.iterdir())


class Unexpected(LogisticRegression):  # type: ignore[misc]
    """Fails where no estimator should."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise RuntimeError("cannot be copied\nat all")


def test_any_failure_is_a_refusal(tmp_path: Path) -> None:
    """What was going on, the cause in one line, and the fix."""
    with pytest.raises(PackagingError, match="RuntimeError: cannot be copied at all; fix") as info:
        package_model(Unexpected().fit(ROWS, LABELS), tmp_path / "model", features=FEATURES)
    assert "\n" not in str(info.value)


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from serve_app.packaging.package import package_model
from serve_app.packaging.tables import PackagingError
import handmade

class Mine(LogisticRegression):
    pass

def doubled(rows):
    return rows * 2

rows, labels = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) % 2
for estimator in (
    Mine(),
    make_pipeline(FunctionTransformer(doubled), LogisticRegression()),
    handmade.Theirs(),
):
    try:
        package_model(
            estimator.fit(rows, labels), Path("model"), training_data=rows,
            features={{"a": {{}}, "b": {{}}}}, report=lambda line: None,
        )
    except PackagingError as error:
        print(error)
"""


def test_what_only_the_script_has_is_refused(iris: Path, tmp_path: Path) -> None:
    """A class or function of __main__, a module beside the script: no service could load them."""
    (tmp_path / "handmade.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n"
        "class Theirs(LogisticRegression):\n    pass\n"
    )
    here = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(here=here)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    own_class, own_function, own_module = done.stdout.splitlines()
    assert "needs 'Mine', which is defined in the script that ran" in own_class
    assert "needs 'doubled', which is defined in the script that ran" in own_function
    assert "needs the module 'handmade', which is not installed" in own_module
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == "") in (
        [],
        ["__pycache__"],
    )


def test_an_existing_model_stays_when_the_new_one_is_refused(
    fitted: LogisticRegression, tmp_path: Path
) -> None:
    """It is replaced only by one that a fresh process has loaded."""
    card = package_model(fitted, tmp_path / "model", features=FEATURES)
    with pytest.raises(PackagingError, match="the module 'gone', which is not installed"):
        package_model(Vanishing().fit(ROWS, LABELS), tmp_path / "model", features=FEATURES)
    assert Artifact.open(tmp_path / "model").card == card
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


class Vanishing(LogisticRegression):  # type: ignore[misc]
    """Is pickled as a thing of a module that is nowhere."""

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce__(self) -> Any:
        return _gone, ()


def _gone() -> Any:
    raise ModuleNotFoundError("No module named 'gone'", name="gone")
