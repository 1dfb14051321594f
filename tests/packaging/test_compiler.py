"""A compiled form is served only with the proof that it agrees; else the card says why."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from serve_app.model.card import MODEL_FILE, ONNX_FILE, Compilation, Engine
from serve_app.model.features import Feature
from serve_app.model.prediction import Prediction
from serve_app.model.sklearn_predictor import SklearnPredictor
from serve_app.packaging.compiler import compile_model, thresholds
from serve_app.packaging.evidence import Evidence
from tests.support.compiled import task_of
from tests.support.models import Packaged, ThresholdClassifier

EXCEPTION = r"[A-Z]\w*(Error|Exception|Fail|InvalidArgument)\b|: Fail\b"
"""The name of an exception: no reason why a model that has a compiled form is served otherwise."""
IRIS, SPECIES = load_iris(return_X_y=True)
FEATURES = tuple(Feature(name=name, minimum=0, maximum=10) for name in "abcd")
ROWS = np.random.default_rng(0).uniform(0, 8, size=(300, 4))


def compiled(
    estimator: Any,
    *,
    rows: Any = ROWS,
    change: Callable[[Prediction], Prediction] = lambda found: found,
) -> tuple[bytes | None, Compilation]:
    """What is compiled where the estimator's answers to rows are ``change`` of what they are."""
    task = task_of(estimator)
    expected = change(SklearnPredictor(estimator, task, FEATURES).predict(rows))
    return compile_model(estimator, FEATURES, task, Evidence(rows, expected))


@pytest.fixture(scope="module")
def regression() -> LogisticRegression:
    """Logistic regression on Iris, integer labels."""
    return LogisticRegression(max_iter=500).fit(IRIS, SPECIES)


@pytest.mark.parametrize(
    ("name", "engine", "route", "reason"),
    [
        ("logistic_regression", "onnx", "operators", "agrees with the estimator on all"),
        ("random_forest", "onnx", "tree ensemble", "agrees with the estimator on all"),
        ("gradient_boosting", "onnx", "tree ensemble", "agrees with the estimator on all"),
        ("svc_with_probabilities", "onnx", "operators", "agrees with the estimator on all"),
        ("k_neighbours", "sklearn", None, "no compiled form of KNeighborsClassifier"),
        ("svc", "onnx", "operators", "agrees with the estimator on all"),
        ("svc_of_two_classes", "onnx", "operators", "agrees with the estimator on all"),
        ("linear_svc", "onnx", "operators", "agrees with the estimator on all"),
        ("ridge", "onnx", "operators", "agrees with the estimator on all"),
        ("perceptron", "onnx", "operators", "agrees with the estimator on all"),
    ],
)
def test_the_card_says_which_engine_and_why(
    packaged: Callable[[str], Packaged], name: str, engine: Engine, route: str | None, reason: str
) -> None:
    """The engine follows from the comparison, and the reason is recorded either way."""
    card = packaged(name).artifact.card
    assert (card.compilation.engine, card.compilation.route) == (engine, route)
    assert reason in card.compilation.reason
    assert not re.search(EXCEPTION, card.compilation.reason)
    assert set(card.files) == ({MODEL_FILE, ONNX_FILE} if engine == "onnx" else {MODEL_FILE})
    agreement = card.compilation.agreement
    assert (agreement is not None) == (engine == "onnx")
    if agreement is not None:
        assert agreement.rows_compared >= 1000
        assert agreement.disagreements == 0
        assert agreement.largest_difference <= 1e-12


def test_a_model_that_answers_otherwise_is_refused(regression: LogisticRegression) -> None:
    """One label or one probability that differs is enough, and the count is reported."""
    model, compilation = compiled(regression)
    assert (model is not None, compilation.engine) == (True, "onnx")

    def one_label(found: Prediction) -> Prediction:
        return Prediction([(found.values[0] + 1) % 3, *found.values[1:]], found.scores)

    model, compilation = compiled(regression, change=one_label)
    assert (model, compilation.engine) == (None, "sklearn")
    assert "operators: 1 of 300 answers differ" in compilation.reason

    def one_probability(found: Prediction) -> Prediction:
        first, *others = found.scores or []
        return Prediction(found.values, [[first[0] + 0.01, *first[1:]], *others])

    model, compilation = compiled(regression, change=one_probability)
    assert (model, compilation.engine) == (None, "sklearn")
    assert "1 of 300 answers differ, numbers by up to 0.01" in compilation.reason


def test_what_the_compiler_does_not_know_is_served_by_scikit_learn() -> None:
    """An estimator of one's own is no error: the reason names it."""
    model, compilation = compiled(ThresholdClassifier())
    assert (model, compilation.engine, compilation.agreement) == (None, "sklearn", None)
    assert "no compiled form of ThresholdClassifier" in compilation.reason
    task = task_of(ThresholdClassifier())
    assert thresholds(ThresholdClassifier(), FEATURES, task) == {}


@pytest.mark.parametrize("name", ["logistic_regression", "random_forest"])
def test_labels_that_follow_are_left_out_of_the_compiled_form(
    packaged: Callable[[str], Packaged], name: str
) -> None:
    """The graph gives probabilities alone; the predictor takes the most probable class."""
    artifact = packaged(name).artifact
    assert artifact.card.task.model_dump()["labels_follow_probabilities"]
    (output,) = onnx.load_from_string(artifact.read(ONNX_FILE)).graph.output
    assert output.name == "probabilities"
