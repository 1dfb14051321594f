"""Each task by the estimator itself and compiled, over float rows and over typed columns."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import (
    BooleanTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
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

from serve_app.model.features import MISSING_TEXT, Feature
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


ZIPMAP = {
    "boolean labels",
    "float labels",
    "forest of two outputs",
    "multi-label",
    "neighbours of two outputs",
}
"""Models whose probabilities skl2onnx would otherwise give as dictionaries."""
SINGLE_ONLY = {"forest of two outputs", "isolation forest", "one-class SVM"}
"""Models that skl2onnx or ONNX Runtime cannot take in double precision."""


@pytest.mark.filterwarnings("ignore:Option zipmap is ignored")
@pytest.mark.parametrize(
    ("name", "precision"),
    [(name, "float32") for name in MODELS]
    + [(name, "float64") for name in MODELS if name not in SINGLE_ONLY],
)
def test_a_compiled_model_answers_as_the_estimator(name: str, precision: Any) -> None:
    """Alone and in a batch, whatever outputs the compiler makes of a task."""
    estimator, target, task = MODELS[name]
    model = Model(estimator.fit(ROWS, target), task, FEATURES, INSTANCE)
    # Not the training rows: some are on a boundary, where precisions part. That is for the proof.
    rows = (ROWS + 0.03).astype(np.float32).astype(np.float64)
    compiled = compile_model(
        estimator,
        rows[:1].astype(precision),
        options={id(estimator): {"zipmap": False}} if name in ZIPMAP else None,
    )
    predictor = compiled_predictor(compiled, model, precision)
    together, expected = predictor.predict(rows), model.predictor.predict(rows)
    tolerances = task.tolerances(expected)
    assert task.compare(together, expected, tolerances).disagreements == []
    alone = [predictor.predict(row[np.newaxis]) for row in rows]
    values = [one.values[0] for one in alone]
    scores = None if together.scores is None else [(one.scores or [])[0] for one in alone]
    assert task.compare(Prediction(values, scores), expected, tolerances).disagreements == []
    assert list(map(type, values)) == list(map(type, expected.values))


def compile_model(estimator: Any, *arguments: Any, **options: Any) -> Any:
    return to_onnx(estimator, *arguments, target_opset={"": 18, "ai.onnx.ml": 3}, **options)


def compiled_predictor(compiled: Any, model: Model, precision: Any = "float32") -> OnnxPredictor:
    return OnnxPredictor(
        compiled.SerializeToString(),
        precision=precision,
        inputs="columns" if len(compiled.graph.input) > 1 else "matrix",
        features=model.features,
        task=model.task,
    )


def test_a_regression_that_overflows_names_the_row() -> None:
    """Infinity is no prediction, alone, in a batch, in either engine."""
    model = Model(
        LinearRegression().fit(ROWS, ROWS[:, 0] * 1e100),
        Regression(targets=("price",)),
        FEATURES,
        INSTANCE,
    )
    compiled = compiled_predictor(compile_model(model.estimator, ROWS[:1]), model, "float64")
    rows = ROWS[:3].copy()
    rows[2] = 1e300
    for predictor in (model.predictor, compiled):
        with pytest.raises(NotFiniteError) as error, np.errstate(all="ignore"):
            predictor.predict(rows)
        assert error.value.row == 2
        with pytest.raises(NotFiniteError), np.errstate(all="ignore"):
            predictor.predict(rows[2:])


COLUMNS = (
    Feature(name="age in years", minimum=0, maximum=99, nullable=True),
    Feature(name="rooms", kind="integer", minimum=0, maximum=9),
    Feature(name="member", kind="boolean"),
    Feature(name="plan", kind="category", categories=categories("basic", "pro"), nullable=True),
)
TENSORS = {
    "age in years": FloatTensorType([None, 1]),
    "rooms": Int64TensorType([None, 1]),
    "member": BooleanTensorType([None, 1]),
    "plan": StringTensorType([None, 1]),
}


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
def test_typed_columns_are_one_tensor_each(
    build: Callable[..., Any], target: Any, task: Task
) -> None:
    """A compiled model takes columns by name without a DataFrame, alone and in a batch."""
    model = typed_model(build, target, task)
    final = model.estimator[-1]
    compiled = compile_model(
        model.estimator,
        initial_types=list(TENSORS.items()),
        options={id(final): {"zipmap": False}} if isinstance(task, Classification) else None,
    )
    predictor = compiled_predictor(with_names_of_features(compiled), model)
    instances = [
        {"age in years": age, "rooms": rooms, "member": member, "plan": plan}
        for age in (0.5, 98)
        for rooms in (0, 9)
        for member in (True, False)
        for plan in ("basic", "pro", "unseen", "")
    ]
    rows = model.rows(*instances)
    expected = model.predictor.predict(rows)
    tolerances = task.tolerances(expected)
    assert task.compare(predictor.predict(rows), expected, tolerances).disagreements == []
    for row, value in zip(rows, task.answers(expected), strict=True):
        answer = task.answers(predictor.predict(row[np.newaxis]))[0]
        assert task.problem_with(answer, value) is None


def with_names_of_features(compiled: Any) -> Any:
    """skl2onnx replaces spaces in names."""
    for given in compiled.graph.input:
        name = given.name.replace("_", " ")
        for node in compiled.graph.node:
            node.input[:] = [name if each == given.name else each for each in node.input]
        given.name = name
    return compiled


def echo(*inputs: tuple[str, int, list[Any]], output: str) -> bytes:
    """A model that returns one of its inputs."""
    values = [onnx.helper.make_tensor_value_info(*each) for each in inputs]
    tensor = next(each for each in inputs if each[0] == output)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", [output], ["out"])],
        "echo",
        values,
        [onnx.helper.make_tensor_value_info("out", *tensor[1:])],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    return bytes(
        onnx.helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    )


def echoing(model: bytes, *features: Feature, task: Task | None = None) -> OnnxPredictor:
    return OnnxPredictor(
        model,
        precision="float32",
        inputs="columns",
        features=features,
        task=task or PlainPrediction(),
    )


FLOAT, STRING, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.STRING, onnx.TensorProto.INT64


@pytest.mark.parametrize("shape", [[None, 1], [None]])
def test_missing_values_reach_a_compiled_model(shape: list[Any]) -> None:
    """A missing number is NaN, a missing string is one that no request can send."""
    features = (
        Feature(name="n", minimum=0, maximum=1, nullable=True),
        Feature(name="t", kind="text", nullable=True),
    )
    rows = Model(None, PlainPrediction(), features, {}).rows({}, {"n": 2.5, "t": ""})
    inputs = (("n", FLOAT, shape), ("t", STRING, shape))
    for output, expected in (("n", [None, 2.5]), ("t", [MISSING_TEXT, ""])):
        predictor = echoing(echo(*inputs, output=output), *features)
        for part in (slice(0, 2), slice(0, 1), slice(1, 2)):
            found = np.ravel(np.array(predictor.predict(rows[part]).values, dtype=object))
            assert [None if pd.isna(value) else value for value in found] == expected[part]


@pytest.mark.parametrize(
    ("tensor", "feature", "message"),
    [
        (("x", FLOAT, [None, 1]), Feature(name="y", minimum=0, maximum=1), "no features: x"),
        (
            ("x", STRING, [None, 1]),
            Feature(name="x", minimum=0, maximum=1),
            "the feature is a number",
        ),
        (("x", INT64, [None, 1]), Feature(name="x", minimum=0, maximum=1), "does not hold every"),
        (
            ("x", INT64, [None, 1]),
            Feature(name="x", kind="integer", minimum=0, maximum=1, nullable=True),
            "does not hold every value",
        ),
        (
            ("x", INT64, [None, 1]),
            Feature(name="x", kind="category", categories=categories(1, 2)),
            "does not hold every value",
        ),
        (
            ("x", onnx.TensorProto.FLOAT16, [None, 1]),
            Feature(name="x", minimum=0, maximum=1),
            "tensor.float16.",
        ),
    ],
)
def test_an_input_that_could_not_hold_every_value_is_refused(
    tensor: tuple[str, int, list[Any]], feature: Feature, message: str
) -> None:
    """A missing integer or an unseen 2.5 would silently become another value."""
    with pytest.raises(ValueError, match=message):
        echoing(echo(tensor, output=tensor[0]), feature)


def test_strings_do_not_fit_one_matrix() -> None:
    """A model of one input takes strings as codes only, and must say which."""
    with pytest.raises(ValueError, match="a matrix without codes for feature 't'"):
        OnnxPredictor(
            echo(("rows", STRING, [None, 1]), output="rows"),
            precision="float32",
            inputs="matrix",
            features=(Feature(name="t", kind="text"),),
            task=PlainPrediction(),
        )


@pytest.mark.parametrize(("held", "labels"), [(INT64, [0, 1]), (STRING, ["False", "True"])])
def test_boolean_labels_have_no_tensor_of_their_own(held: int, labels: list[Any]) -> None:
    """Integers and strings in their place become the estimator's labels again."""
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node(
                "LabelEncoder", ["x"], ["out"], domain="ai.onnx.ml", **_encoding(held, labels)
            )
        ],
        "labels",
        [onnx.helper.make_tensor_value_info("x", INT64, [None, 1])],
        [onnx.helper.make_tensor_value_info("out", held, [None, 1])],
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    feature = Feature(name="x", kind="integer", minimum=0, maximum=1)
    predictor = echoing(model.SerializeToString(), feature, task=bools(probabilities=False))
    found = predictor.predict(np.array([[1.0], [0.0]])).values
    assert found == [True, False]
    assert set(map(type, found)) == {bool}


def _encoding(held: int, labels: list[Any]) -> dict[str, Any]:
    return {
        "keys_int64s": [0, 1],
        "values_int64s" if held == INT64 else "values_strings": labels,
    }


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
