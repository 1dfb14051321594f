"""Both engines answer as the estimator does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from serve_app.model.artifact import Artifact
from serve_app.model.card import ONNX_FILE, Engine
from serve_app.model.comparison import PROBABILITY_TOLERANCE
from serve_app.model.features import Feature
from serve_app.model.loading import load_predictor, sample_rows
from serve_app.model.onnx_predictor import OnnxPredictor
from serve_app.model.prediction import NotFiniteError, Prediction
from serve_app.model.predictor import most_probable
from serve_app.model.sklearn_predictor import SklearnPredictor
from serve_app.model.tasks import Classification
from tests.support.models import ESTIMATORS, WITHOUT_PROBABILITIES, Packaged, difference

COLUMN = (Feature(name="x", minimum=0, maximum=1),)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("engine", [None, "sklearn"])
def test_answers_are_the_estimators(
    packaged: Callable[[str], Packaged], name: str, engine: Engine | None
) -> None:
    """Labels and probabilities equal scikit-learn's, with the card's engine and the other."""
    fitted, artifact = packaged(name).fitted, packaged(name).artifact
    found = load_predictor(artifact, engine).predict(fitted.rows)
    assert found.values == fitted.estimator.predict(fitted.rows).tolist()
    if name in WITHOUT_PROBABILITIES:
        assert found.scores is None
    else:
        expected = fitted.estimator.predict_proba(fitted.rows).tolist()
        assert difference(found, Prediction(found.values, expected)) <= PROBABILITY_TOLERANCE


@pytest.mark.parametrize("name", ESTIMATORS)
def test_answers_are_plain_python(packaged: Callable[[str], Packaged], name: str) -> None:
    """Labels are of the card's type and probabilities are floats, so that JSON carries them."""
    artifact = packaged(name).artifact
    found = load_predictor(artifact).predict(sample_rows(artifact.card))
    artifact.card.task.prediction_of(artifact.card.task.answers(found)[0])
    assert type(found.values[0]) in {str, int}
    for probability in (found.scores or [[]])[0]:
        assert type(probability) is float


@pytest.mark.parametrize("engine", ["onnx", "sklearn"])
def test_a_batch_equals_its_rows_one_by_one(iris_forest: Path, engine: Engine) -> None:
    """How many rows share a model call has no influence on their answers."""
    predictor = load_predictor(Artifact.open(iris_forest), engine)
    rows = np.random.default_rng(1).uniform(0, 8, size=(50, 4))
    together = predictor.predict(rows)
    alone = [predictor.predict(row[np.newaxis]) for row in rows]
    assert together.values == [one.values[0] for one in alone]
    probabilities = [(one.scores or [])[0] for one in alone]
    assert difference(together, Prediction(together.values, probabilities)) <= 1e-6


def test_a_single_row_takes_the_type_that_the_model_gives(iris_forest: Path) -> None:
    """Trees give single precision also for rows of double precision, alone and in a batch."""
    artifact = Artifact.open(iris_forest)
    model = onnx.load_from_string(artifact.read(ONNX_FILE))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    double = OnnxPredictor(
        model.SerializeToString(),
        precision="float64",
        features=artifact.card.features,
        task=artifact.card.task,
    )
    row = sample_rows(artifact.card)
    alone, together = double.predict(row), double.predict(row.repeat(2, axis=0))
    assert alone.values == [artifact.card.sample.answer["predicted_class"]]
    assert together.scores == (alone.scores or []) * 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("rows", "row"), [(1, 0), (3, 0), (3, 2)])
def test_probabilities_that_are_not_finite_are_an_error(value: float, rows: int, row: int) -> None:
    """An overflow inside the model is reported with the position of the row."""
    probabilities = np.full((rows, 2), 0.5)
    probabilities[row, 1] = value
    with pytest.raises(NotFiniteError) as error:
        most_probable(probabilities, ["a", "b"])
    assert error.value.row == row


@pytest.mark.parametrize("rows", [1, 2])
def test_the_first_of_equally_probable_classes_wins(rows: int) -> None:
    """Ties are broken as scikit-learn breaks them, alone and in a batch."""
    assert most_probable(np.full((rows, 3), 1 / 3), ["a", "b", "c"]).values == ["a"] * rows


def test_labels_need_not_be_the_most_probable_class() -> None:
    """An estimator whose predict disagrees with its probabilities is believed on both."""

    class Contrary:
        classes_ = np.array([0, 1])

        def predict(self, rows: Any) -> Any:
            return np.ones(len(rows), dtype=int)

        def predict_proba(self, rows: Any) -> Any:
            return np.tile([0.9, 0.1], (len(rows), 1))

    task = Classification(classes=(0, 1), has_probabilities=True, labels_follow_probabilities=False)
    found = SklearnPredictor(Contrary(), task, COLUMN).predict(np.zeros((2, 1)))
    assert found.values == [1, 1]
    assert found.scores == [[0.9, 0.1], [0.9, 0.1]]


def test_weights_outside_of_the_model_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No digest covers them: a model that names another file of weights is refused."""
    monkeypatch.chdir(tmp_path)
    weights = np.eye(64, dtype=np.float32)
    Path("weights.bin").write_bytes(weights.tobytes())
    outside = onnx.numpy_helper.from_array(weights, "weights")
    outside.ClearField("raw_data")
    outside.data_location = onnx.TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="weights.bin")
    shape = [None, 64]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["rows", "weights"], ["probabilities"])],
        "identity",
        [onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, shape)],
        initializer=[outside],
    )
    opsets = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    features = [Feature(name=f"x{index}", minimum=0, maximum=1) for index in range(64)]
    task = Classification(
        classes=tuple(range(64)), has_probabilities=True, labels_follow_probabilities=True
    )
    with pytest.raises(Exception, match=r"weights\.bin|/dev/null"):
        OnnxPredictor(model.SerializeToString(), precision="float32", features=features, task=task)
