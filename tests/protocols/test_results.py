"""Tensors of an answer: what scikit-learn's own methods return, under their names."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.model.prediction import Prediction
from serve_app.model.tasks import Classification, PlainPrediction
from serve_app.protocols.results import Results
from serve_app.protocols.tensors import Tensor, TensorError
from tests.model.test_every_task import FEATURES, INSTANCE, MODELS, ROWS
from tests.support.tables import Model


def tensors(results: Results, prediction: Prediction, *names: str) -> list[Tensor]:
    return results.tensors(prediction, results.selection(names))


def array(tensor: Tensor) -> Any:
    return np.array(tensor.values).reshape(tensor.shape)


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_the_estimators(tmp_path: Path, name: str) -> None:
    """predict, predict_proba and decision_function, of every task, as the metadata says."""
    estimator, target, task = MODELS[name]
    model = Model(estimator.fit(ROWS, target), task, FEATURES, INSTANCE)
    results = Results(model.write(tmp_path / "model").card)
    prediction = model.predictor.predict(ROWS)
    for metadata in results.metadata:
        (found,) = tensors(results, prediction, metadata.name)
        method, _, part = metadata.name.partition(".")
        expected = getattr(estimator, method)(ROWS)
        if part and isinstance(expected, list):
            expected = expected[[output.name for output in task.outputs].index(part)]  # type: ignore[union-attr]
        elif part:
            place = [output.name for output in task.outputs].index(part)  # type: ignore[union-attr]
            expected = np.column_stack([1 - expected[:, place], expected[:, place]])
        np.testing.assert_allclose(array(found), np.reshape(expected, found.shape))
        assert found.datatype == metadata.datatype
        assert (-1, *found.shape[1:]) == metadata.shape
        assert metadata.parameters == {"content_type": "np"}
    assert [each.name for each in tensors(results, prediction)] == ["predict"]


@pytest.mark.parametrize(
    ("labels", "datatype", "sent"),
    [
        (["a", "ü"], "BYTES", ["a", "ü"]),
        ([0, 2], "INT64", [0, 2]),
        ([0.5, 2], "FP64", [0.5, 2.0]),
        ([False, True], "BOOL", [False, True]),
        ([2**63 + 1, 1], "UINT64", [2**63 + 1, 1]),
        ([2**64, 1], "FP64", [2.0**64, 1.0]),
        ([2**64 + 1, 1], "BYTES", [str(2**64 + 1), "1"]),
        ([2**53 + 1, 0.5], "BYTES", [str(2**53 + 1), "0.5"]),
        ([2**63 + 1, -1], "BYTES", [str(2**63 + 1), "-1"]),
        ([10**400, 1], "BYTES", [str(10**400), "1"]),
        ([False, "x"], "BYTES", ["false", "x"]),
    ],
)
def test_labels_have_the_datatype_of_the_classes(
    card: Any, labels: list[Any], datatype: str, sent: list[Any]
) -> None:
    """Strings are BYTES; of several types, or beyond FP64, they are the keys that JSON has."""
    task = Classification(
        classes=tuple(labels), has_probabilities=False, labels_follow_probabilities=False
    )
    answer = {"predicted_class": labels[0], "probabilities": None}
    sample = card.sample.model_copy(update={"answer": answer})
    results = Results(card.model_copy(update={"task": task, "sample": sample}))
    (found,) = tensors(results, Prediction(labels))
    assert (found.datatype, list(found.values), found.shape) == (datatype, sent, (2, 1))
    assert [each.name for each in results.metadata] == ["predict"]


@pytest.mark.parametrize(
    ("values", "datatype", "shape", "sent"),
    [
        ([3, 4], "INT64", (2, 1), [3, 4]),
        ([3.5, 4.0], "FP64", (2, 1), [3.5, 4.0]),
        ([True, False], "BOOL", (2, 1), [True, False]),
        (["a", "b"], "BYTES", (2, 1), ["a", "b"]),
        ([[1, 2.5], [3, 4]], "FP64", (2, 2), [1, 2.5, 3, 4]),
        ([[1], [2, 3]], "BYTES", (2, 1), ["[1]", "[2, 3]"]),
        ([[1, 2**53 + 1]], "BYTES", (1, 1), [f"[1, {2**53 + 1}]"]),
        ([1, "a"], "BYTES", (2, 1), ["1", '"a"']),
        ([2**70, 1], "BYTES", (2, 1), [str(2**70), "1"]),
        ([[], []], "BYTES", (2, 1), ["[]", "[]"]),
        ([None], "BYTES", (1, 1), ["null"]),
    ],
)
def test_anything_is_sent(
    card: Any, values: list[Any], datatype: str, shape: Any, sent: list[Any]
) -> None:
    """Numbers as such; what no tensor can have as JSON texts, without a loss."""
    sample = card.sample.model_copy(update={"answer": {"prediction": 3}})
    results = Results(card.model_copy(update={"task": PlainPrediction(), "sample": sample}))
    (found,) = tensors(results, Prediction(values))
    assert (found.datatype, found.shape, list(found.values)) == (datatype, shape, sent)


def test_outputs_come_as_they_are_asked_for(card: Any) -> None:
    """In this order, KServe's name among them; unknown and repeated names are refused."""
    results = Results(card)
    prediction = Prediction(["setosa"], [[0.5, 0.3, 0.2]])
    found = tensors(results, prediction, "predict_proba", "output-0")
    assert [each.name for each in found] == ["predict_proba", "output-0"]
    assert list(found[1].values) == ["setosa"]
    with pytest.raises(TensorError, match="outputs: the model has predict, predict_proba; got 'x'"):
        results.selection(["x"])
    with pytest.raises(TensorError, match="named twice"):
        results.selection(["predict", "predict"])
