"""A compiled form is served only with the proof that it agrees; else the card says why."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import skl2onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from serve_app.model.card import MODEL_FILE, ONNX_FILE, Engine, Feature, Precision
from serve_app.model.predictor import OnnxPredictor, Prediction, SklearnPredictor
from serve_app.packaging.compiler import compile_to_onnx
from serve_app.packaging.proof import BOX_ROWS, comparison_rows
from tests.support.models import Packaged, ThresholdClassifier, difference

TOLERANCES: dict[float, Precision] = {1e-5: "float32", 1e-12: "float64"}
EXCEPTION = r"[A-Z]\w*(Error|Exception|Fail|InvalidArgument)\b|: Fail\b"
"""The name of an exception: no reason why a model that has a compiled form is served otherwise."""
FEATURES = tuple(Feature(name=name, minimum=0, maximum=10) for name in "ab")


@pytest.fixture(scope="module")
def regression() -> LogisticRegression:
    """Logistic regression on two columns of Iris, integer labels."""
    iris = load_iris()
    return LogisticRegression().fit(iris.data[:, :2], iris.target)


@pytest.mark.parametrize(
    ("name", "engine", "reason"),
    [
        ("logistic_regression", "onnx", "agrees with scikit-learn on all"),
        ("random_forest", "onnx", "agrees with scikit-learn on all"),
        ("gradient_boosting", "onnx", "agrees with scikit-learn on all"),
        ("svc_with_probabilities", "onnx", "agrees with scikit-learn on all"),
        ("k_neighbours", "sklearn", "probabilities by up to"),
        ("svc", "sklearn", "labels differ"),
        ("svc_of_two_classes", "onnx", "agrees with scikit-learn on all"),
        ("linear_svc", "onnx", "agrees with scikit-learn on all"),
        ("ridge", "onnx", "agrees with scikit-learn on all"),
        ("perceptron", "onnx", "agrees with scikit-learn on all"),
    ],
)
def test_the_card_says_which_engine_and_why(
    packaged: Callable[[str], Packaged], name: str, engine: Engine, reason: str
) -> None:
    """The engine follows from the comparison, and the reason is recorded either way."""
    card = packaged(name).artifact.card
    assert card.compilation.engine == engine
    assert reason in card.compilation.reason
    assert not re.search(EXCEPTION, card.compilation.reason)
    assert set(card.files) == ({MODEL_FILE, ONNX_FILE} if engine == "onnx" else {MODEL_FILE})
    agreement = card.compilation.agreement
    assert (agreement is not None) == (engine == "onnx")
    if agreement is not None:
        assert agreement.rows_compared >= BOX_ROWS + packaged(name).fitted.rows.shape[0]
        assert agreement.label_disagreements == 0
        assert agreement.max_probability_difference <= agreement.tolerance


def compiled(
    estimator: Any, expected: Prediction, rows: Any, **options: Any
) -> tuple[bytes | None, Any]:
    classes = estimator.classes_.tolist()
    return compile_to_onnx(
        estimator, rows, expected, classes=classes, labels_follow=True, **options
    )


def test_a_model_that_answers_otherwise_is_refused(regression: LogisticRegression) -> None:
    """One label or one probability that differs is enough, and the count is reported."""
    rows = np.random.default_rng(0).uniform(0, 10, size=(100, 2))
    true = SklearnPredictor(regression).predict(rows)
    assert true.probabilities is not None
    model, compilation = compiled(regression, true, rows)
    assert (model is not None, compilation.engine) == (True, "onnx")

    one_label = Prediction([(true.labels[0] + 1) % 3, *true.labels[1:]], true.probabilities)  # type: ignore[operator]
    model, compilation = compiled(regression, one_label, rows)
    assert (model, compilation.engine) == (None, "sklearn")
    assert f"float32: 1 of {len(rows)} labels differ" in compilation.reason
    assert f"float64: 1 of {len(rows)} labels differ" in compilation.reason

    first = [true.probabilities[0][0] + 0.01, *true.probabilities[0][1:]]
    one_probability = Prediction(true.labels, [first, *true.probabilities[1:]])
    model, compilation = compiled(regression, one_probability, rows)
    assert (model, compilation.engine) == (None, "sklearn")
    assert "0 of" in compilation.reason
    assert "probabilities by up to 0.01" in compilation.reason


def test_double_precision_is_taken_where_single_is_too_coarse(
    regression: LogisticRegression,
) -> None:
    """Below the tolerance of single precision the double form is served, and the card says so."""
    rows = np.random.default_rng(0).uniform(0, 10, size=(100, 2))
    expected = SklearnPredictor(regression).predict(rows)
    for tolerance, precision in TOLERANCES.items():
        model, compilation = compiled(regression, expected, rows, tolerance=tolerance)
        assert compilation.agreement.precision == precision
        assert model is not None
        predictor = OnnxPredictor(model, precision=precision, classes=regression.classes_.tolist())
        assert difference(predictor.predict(rows), expected) <= tolerance


@pytest.mark.parametrize(
    "wrapped",
    [
        LinearSVC(),
        make_pipeline(make_pipeline(LinearSVC())),
        GridSearchCV(LinearSVC(), {"C": [0.5, 1.0]}),
        GridSearchCV(make_pipeline(LinearSVC()), {"linearsvc__C": [0.5, 1.0]}),
    ],
)
def test_a_wrapped_classifier_is_compiled_as_the_one_inside(wrapped: Any) -> None:
    """Pipelines in pipelines and searches hide nothing from the compiler."""
    iris = load_iris()
    wrapped.fit(iris.data, iris.target)
    features = tuple(Feature(name=name, minimum=0, maximum=8) for name in "abcd")
    rows = comparison_rows(SklearnPredictor(wrapped), features, iris.data)
    expected = SklearnPredictor(wrapped).predict(rows)
    model, compilation = compile_to_onnx(
        wrapped, rows, expected, classes=[0, 1, 2], labels_follow=False
    )
    assert model is not None, compilation.reason
    assert compilation.agreement is not None
    assert compilation.agreement.label_disagreements == 0


def test_the_reason_is_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """skl2onnx wraps what happened in pages of attributes: the card tells what happened."""

    def refuse(*_: Any, **__: Any) -> bytes:
        raise ValueError("cannot create node [0, 1, ...") from TypeError("expected an int")

    monkeypatch.setattr(skl2onnx, "convert_sklearn", refuse)
    expected = SklearnPredictor(ThresholdClassifier()).predict(np.zeros((1, 2)))
    _, compilation = compiled(ThresholdClassifier(), expected, np.zeros((1, 2)))
    assert "float32: TypeError: expected an int" in compilation.reason


def test_what_the_compiler_does_not_know_is_served_by_scikit_learn() -> None:
    """A user's own estimator is no error: the reason names it."""
    rows = comparison_rows(SklearnPredictor(ThresholdClassifier()), FEATURES, None)
    expected = SklearnPredictor(ThresholdClassifier()).predict(rows)
    model, compilation = compiled(ThresholdClassifier(), expected, rows)
    assert (model, compilation.engine, compilation.agreement) == (None, "sklearn", None)
    assert "ThresholdClassifier" in compilation.reason


def test_the_order_of_a_set_is_not_in_the_bytes(
    regression: LogisticRegression, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operator sets that skl2onnx lists in another order, as some processes do, change nothing."""
    rows = np.random.default_rng(0).uniform(0, 10, size=(100, 2))
    expected = SklearnPredictor(regression).predict(rows)
    usual, _ = compiled(regression, expected, rows)
    convert = skl2onnx.convert_sklearn

    def convert_reversed(*arguments: Any, **options: Any) -> Any:
        model = convert(*arguments, **options)
        model.opset_import.reverse()
        return model

    monkeypatch.setattr(skl2onnx, "convert_sklearn", convert_reversed)
    assert compiled(regression, expected, rows)[0] == usual


@pytest.mark.parametrize("name", ["logistic_regression", "random_forest"])
def test_labels_that_follow_are_left_out_of_the_compiled_form(
    packaged: Callable[[str], Packaged], name: str
) -> None:
    """The graph gives probabilities alone; the predictor takes the most probable class."""
    artifact = packaged(name).artifact
    assert artifact.card.labels_follow_probabilities
    (_,) = onnx.load_from_string(artifact.read(ONNX_FILE)).graph.output
