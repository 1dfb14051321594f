"""Each task by the estimator itself and compiled, over float rows and over typed columns."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import OneClassSVM

from serve_app.model.features import Feature
from serve_app.model.onnx_predictor import OnnxPredictor
from serve_app.model.prediction import NotFiniteError, Prediction
from serve_app.model.tasks import (
    Classification,
    MultiOutput,
    OutlierDetection,
    Output,
    PlainPrediction,
    Regression,
    Task,
)
from serve_app.packaging.compiler import compiled_form
from tests.support.tables import Model, categories

ROWS = load_iris().data
SPECIES = load_iris().target
FEATURES = tuple(Feature(name=name, minimum=0, maximum=10) for name in "abcd")
INSTANCE = dict(zip("abcd", ROWS[0].tolist(), strict=True))

LABELS = np.column_stack([SPECIES == 1, ROWS[:, 0] > 5]).astype(int)
TWO = MultiOutput(
    outputs=(Output(name="kind", classes=(0, 1)), Output(name="long", classes=(0, 1))),
    has_probabilities=True,
)


def bools(probabilities: bool = True, follow: bool = True) -> Classification:
    return Classification(
        classes=(False, True), has_probabilities=probabilities, labels_follow_probabilities=follow
    )


def floats() -> Classification:
    return Classification(
        classes=(0.0, 1.0, 2.0), has_probabilities=True, labels_follow_probabilities=False
    )


MODELS: dict[str, tuple[Any, Any, Task]] = {
    "boolean labels": (LogisticRegression(max_iter=500), SPECIES == 1, bools()),
    "float labels": (LogisticRegression(max_iter=500), SPECIES.astype(float), floats()),
    "regression": (LinearRegression(), ROWS[:, 0] * 1e5, Regression(targets=("price",))),
    "two targets": (Ridge(), ROWS[:, :2] * [1e5, 1], Regression(targets=("x", "y"))),
    "forest of two outputs": (RandomForestClassifier(5, random_state=0), LABELS, TWO),
    "two classifiers": (MultiOutputClassifier(LogisticRegression(max_iter=500)), LABELS, TWO),
    "multi-label": (OneVsRestClassifier(LogisticRegression(max_iter=500)), LABELS, TWO),
    "neighbours of two outputs": (
        KNeighborsClassifier(),
        LABELS,
        TWO.model_copy(update={"has_probabilities": False}),
    ),
    "isolation forest": (
        IsolationForest(n_estimators=10, random_state=0),
        None,
        OutlierDetection(has_score=True),
    ),
    "one-class SVM": (OneClassSVM(), None, OutlierDetection(has_score=False)),
    "clusters": (KMeans(3, random_state=0, n_init=1), None, PlainPrediction()),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    """A fitted estimator of each task over four numbers."""
    estimator, target, task = MODELS[request.param]
    return Model(estimator.fit(ROWS, target), task, FEATURES, INSTANCE)


def test_the_estimators_own_answers_are_served(model: Model) -> None:
    """Values and scores are those of predict, predict_proba and decision_function."""
    found = model.predictor.predict(ROWS)
    answers = np.asarray(model.estimator.predict(ROWS))
    match model.task:
        case Regression():
            assert found.values == answers.reshape(len(ROWS), -1).tolist()
        case OutlierDetection(has_score=has_score):
            assert found.values == (answers == -1).tolist()
            scores = model.estimator.decision_function(ROWS).tolist()
            assert found.scores == (scores if has_score else None)
        case _:
            assert found.values == answers.tolist()
    for answer, row in zip(model.task.answers(found), ROWS, strict=True):
        alone = model.predictor.predict(row[np.newaxis])
        assert model.task.problem_with(model.task.answers(alone)[0], answer) is None


def test_scores_of_several_outputs_are_by_output() -> None:
    """From a list of arrays, and from one array with the probability of each label."""
    for estimator in (RandomForestClassifier(5, random_state=0), MODELS["multi-label"][0]):
        estimator.fit(ROWS, LABELS)
        found = Model(estimator, TWO, FEATURES, INSTANCE).predictor.predict(ROWS[:7])
        scores = found.scores or []
        assert np.shape(scores) == (7, 2, 2)
        assert np.allclose(np.sum(scores, axis=2), 1)
        positive = estimator.predict_proba(ROWS[:7])
        if isinstance(positive, list):
            positive = np.column_stack([output[:, 1] for output in positive])
        assert np.array_equal(np.asarray(scores)[:, :, 1], positive)


@pytest.mark.parametrize("name", [name for name in MODELS if "neighbours" not in name])
def test_a_compiled_model_answers_as_the_estimator(name: str) -> None:
    """Alone and in a batch: the same values, of the same types, and the same scores."""
    estimator, target, task = MODELS[name]
    model = Model(estimator.fit(ROWS, target), task, FEATURES, INSTANCE)
    require_equal(compiled_predictor(model), model, ROWS + 0.03)


def require_equal(predictor: OnnxPredictor, model: Model, rows: Any) -> None:
    task, expected = model.task, model.predictor.predict(rows)
    tolerances = task.tolerances(expected)
    together = predictor.predict(rows)
    assert task.compare(together, expected, tolerances).disagreements == []
    alone = [predictor.predict(row[np.newaxis]) for row in rows]
    values = [one.values[0] for one in alone]
    scores = None if together.scores is None else [(one.scores or [])[0] for one in alone]
    assert task.compare(Prediction(values, scores), expected, tolerances).disagreements == []
    assert list(map(type, values)) == list(map(type, expected.values))


def compiled_predictor(model: Model) -> OnnxPredictor:
    form = compiled_form(model.estimator, model.features, model.task)
    return OnnxPredictor(
        form.model, precision=form.precision, features=model.features, task=model.task
    )


def test_a_regression_that_overflows_names_the_row() -> None:
    """Infinity is no prediction, alone, in a batch, in either engine."""
    model = Model(
        LinearRegression().fit(ROWS, ROWS[:, 0] * 1e100),
        Regression(targets=("price",)),
        FEATURES,
        INSTANCE,
    )
    rows = ROWS[:3].copy()
    rows[2] = 1e300
    for predictor in (model.predictor, compiled_predictor(model)):
        with pytest.raises(NotFiniteError) as error, np.errstate(all="ignore"):
            predictor.predict(rows)
        assert error.value.row == 2
        with pytest.raises(NotFiniteError), np.errstate(all="ignore"):
            predictor.predict(rows[2:])


COLUMNS = (
    Feature(name="age in years", minimum=0, maximum=99),
    Feature(name="rooms", kind="integer", minimum=0, maximum=9),
    Feature(name="member", kind="boolean"),
    Feature(name="plan", kind="category", categories=categories("basic", "pro"), nullable=True),
)


def typed_model(build: Callable[..., Any], target: Any, task: Task) -> Model:
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age in years": random.uniform(0, 99, 200),
            "rooms": random.integers(0, 9, 200),
            "member": random.random(200) < 0.5,
            "plan": random.choice(["basic", "pro"], 200).astype(object),
        }
    )
    transform = make_column_transformer(
        ("passthrough", ["age in years", "rooms", "member"]),
        (OneHotEncoder(handle_unknown="ignore"), ["plan"]),
    )
    estimator = make_pipeline(transform, build()).fit(table, target(table))
    instance = {"age in years": 30.5, "rooms": 3, "member": True, "plan": "pro"}
    return Model(estimator, task, COLUMNS, instance, "frame")


@pytest.mark.parametrize(
    ("build", "target", "task"),
    [
        (
            lambda: LogisticRegression(max_iter=5000),
            lambda table: table["plan"] == "pro",
            bools(follow=False),
        ),
        (Ridge, lambda table: table["rooms"] * 3.0 + table["member"], Regression(targets=("y",))),
    ],
)
def test_typed_columns_need_no_frame(build: Callable[..., Any], target: Any, task: Task) -> None:
    """A compiled model takes columns by name without a DataFrame, alone and in a batch."""
    model = typed_model(build, target, task)
    instances = [
        {"age in years": age, "rooms": rooms, "member": member, "plan": plan}
        for age in (0.5, 98)
        for rooms in (0, 9)
        for member in (True, False)
        for plan in ("basic", "pro", "unseen", "", None)
    ]
    require_equal(compiled_predictor(model), model, model.rows(*instances))


MISSING = -99.0


def echo(kind: int, *, output: str = "values", vocabularies: str | None = None) -> bytes:
    """A model that returns its matrix, `MISSING` in place of NaN, which is no answer."""
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("IsNaN", ["rows"], ["is_missing"]),
            onnx.helper.make_node("Where", ["is_missing", "missing", "rows"], [output]),
        ],
        "echo",
        [onnx.helper.make_tensor_value_info("rows", kind, [None, None])],
        [onnx.helper.make_tensor_value_info(output, kind, [None, None])],
        initializer=[onnx.helper.make_tensor("missing", kind, [], [MISSING])],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    if vocabularies:
        onnx.helper.set_model_props(model, {"vocabularies": vocabularies})
    return bytes(model.SerializeToString())


def echoing(model: bytes, *features: Feature, task: Task | None = None) -> OnnxPredictor:
    return OnnxPredictor(
        model, precision="float64", features=features, task=task or PlainPrediction()
    )


def test_strings_are_codes_and_missing_values_nan() -> None:
    """Known values by their position, an unseen one as -1, whichever way rows are given."""
    features = (
        Feature(name="n", minimum=0, maximum=1, nullable=True),
        Feature(name="t", kind="category", categories=categories("a", "b"), nullable=True),
    )
    predictor = echoing(echo(onnx.TensorProto.DOUBLE, vocabularies='{"1": ["a", "b"]}'), *features)
    rows = Model(None, PlainPrediction(), features, {}).rows(
        {}, {"n": 2.5, "t": "b"}, {"n": 1, "t": "c"}
    )
    expected = [[MISSING, MISSING], [2.5, 1.0], [1.0, -1.0]]
    for part in (slice(0, 3), slice(0, 1), slice(1, 2), slice(2, 3)):
        found = np.array(predictor.predict(rows[part]).values)
        np.testing.assert_array_equal(found, expected[part])


def test_strings_without_codes_are_refused() -> None:
    """A model takes strings as codes only, and must say which."""
    with pytest.raises(ValueError, match="a matrix without codes for feature 't'"):
        echoing(echo(onnx.TensorProto.DOUBLE), Feature(name="t", kind="text"))


def test_a_model_without_the_outputs_of_its_task_is_refused() -> None:
    """It names what is missing."""
    with pytest.raises(ValueError, match="a model of task outlier without scores, values"):
        echoing(
            echo(onnx.TensorProto.DOUBLE, output="labels"),
            Feature(name="x", minimum=0, maximum=1),
            task=OutlierDetection(has_score=True),
        )


def test_an_estimator_that_may_refuse_gaps_keeps_its_check() -> None:
    """Where values may be missing, NaN is not passed unseen to an estimator that cannot take it."""
    nullable = tuple(each.model_copy(update={"nullable": True}) for each in FEATURES)
    fitted = LogisticRegression(max_iter=500).fit(ROWS, SPECIES)
    task = Classification(
        classes=(0, 1, 2), has_probabilities=True, labels_follow_probabilities=True
    )
    model = Model(fitted, task, nullable, INSTANCE)
    with pytest.raises(ValueError, match="NaN"):
        model.predictor.predict(model.rows({}))


def test_arrays_of_objects_have_nan_where_a_value_is_missing() -> None:
    """As pandas gives them to the estimator in training."""
    seen: list[Any] = []

    class Recording:
        def predict(self, rows: Any) -> Any:
            seen.append(rows)
            return np.zeros(len(rows))

    features = (
        Feature(name="t", kind="text", nullable=True),
        Feature(name="n", minimum=0, maximum=1, nullable=True),
    )
    model = Model(Recording(), PlainPrediction(), features, {})
    model.predictor.predict(model.rows({"t": "a", "n": 1}, {}))
    assert seen[0][0].tolist() == ["a", 1.0]
    assert pd.isna(seen[0][1]).all()
