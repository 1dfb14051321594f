"""What a compiled model returns for each task, and the prediction that it is."""

from collections.abc import Callable
from typing import Any

from serve_app.model.prediction import Prediction
from serve_app.model.predictor import finite, most_probable
from serve_app.model.tasks import (
    Classification,
    MultiOutput,
    OutlierDetection,
    PlainPrediction,
    Regression,
    Task,
)

POSITIONS, PROBABILITIES, VALUES, SCORES = "positions", "probabilities", "values", "scores"
"""Names of outputs: positions in the classes, shape [rows] or [rows, outputs]; probabilities, shape
[rows, classes]; what ``predict`` returns; scores, shape [rows, 1] or [rows]."""

Read = Callable[[list[Any]], Prediction]
"""Makes a prediction of the tensors that a model returned."""


def probabilities_name(output: int) -> str:
    """Name of the probabilities of one of several outputs."""
    return f"{PROBABILITIES}_{output}"


def outputs_of(task: Task) -> tuple[str, ...]:
    """Names of the outputs of a compiled model, in the order in which they are read.

    Labels that follow the probabilities are left out.
    """
    match task:
        case Classification():
            positions = () if task.labels_follow_probabilities else (POSITIONS,)
            return ((PROBABILITIES,) if task.has_probabilities else ()) + positions
        case MultiOutput():
            each = range(len(task.outputs)) if task.has_probabilities else ()
            return (POSITIONS, *map(probabilities_name, each))
        case OutlierDetection():
            return (VALUES, SCORES) if task.has_score else (VALUES,)
        case Regression() | PlainPrediction():
            return (VALUES,)


def reading(task: Task) -> Read:
    """How the outputs of a task are read."""
    match task:
        case Classification():
            return _classification(task)
        case MultiOutput():
            return _multioutput(task)
        case Regression():
            return lambda found: Prediction(finite(found[0].reshape(len(found[0]), -1)))
        case OutlierDetection():
            return _outlier(task)
        case PlainPrediction():
            return _plain


def _plain(found: list[Any]) -> Prediction:
    values = found[0]
    return Prediction(finite(values) if values.dtype.kind == "f" else values.tolist())


def _classification(task: Classification) -> Read:
    classes = task.classes
    if task.labels_follow_probabilities:
        return lambda found: most_probable(found[0], classes)

    def read(found: list[Any]) -> Prediction:
        labels = [classes[position] for position in found[-1].reshape(-1).tolist()]
        return Prediction(labels, finite(found[0])) if len(found) > 1 else Prediction(labels)

    return read


def _multioutput(task: MultiOutput) -> Read:
    classes = [output.classes for output in task.outputs]

    def read(found: list[Any]) -> Prediction:
        positions, *probabilities = found
        rows = [
            [known[position] for known, position in zip(classes, row, strict=True)]
            for row in positions.reshape(len(positions), -1).tolist()
        ]
        if not probabilities:
            return Prediction(rows)
        return Prediction(
            rows, [list(row) for row in zip(*map(finite, probabilities), strict=True)]
        )

    return read


def _outlier(task: OutlierDetection) -> Read:
    def read(found: list[Any]) -> Prediction:
        values = (found[0].reshape(-1) == -1).tolist()
        return Prediction(values, finite(found[1].reshape(-1)) if task.has_score else None)

    return read
