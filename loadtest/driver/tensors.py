"""Columns of V2's requests from rows, and answers from the outputs that V2 gives to them.

Written from the protocol, not with the service's own modules: an error there must be noticed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from serve_app.model.prediction import Prediction
from serve_app.model.tasks import (
    Classification,
    Label,
    MultiOutput,
    OutlierDetection,
    Task,
    keys_of,
)

PREDICT, PROBABILITIES, SCORE = "predict", "predict_proba", "decision_function"
JSON_TYPE = "pd_json"
"""MLServer's name for elements that are JSON texts."""
INLIER, OUTLIER = 1, -1
OutputRows = list[list[Any]]


class Column(NamedTuple):
    """One input tensor, of shape [rows, 1]."""

    name: str
    datatype: str
    values: list[Any]
    content_type: str | None = None


def columns_of(instances: Sequence[Mapping[str, Any]]) -> list[Column]:
    """One column for each feature; features that every instance lacks are left out."""
    found = (_column(name, [instance.get(name) for instance in instances]) for name in instances[0])
    return [column for column in found if any(value is not None for value in column.values)]


def _column(name: str, values: list[Any]) -> Column:
    types = {type(value) for value in values}
    if types == {str}:
        return Column(name, "BYTES", values)
    if types in ({bool}, {int}):
        return Column(name, "BOOL" if types == {bool} else "INT64", values)
    if types <= {int, float}:
        return Column(name, "FP64", list(map(float, values)))
    if types == {type(None)}:
        return Column(name, "BYTES", values)
    return Column(name, "BYTES", [orjson.dumps(value).decode() for value in values], JSON_TYPE)


def outputs_of(task: Task) -> list[str]:
    """Outputs to ask for, to know all of an answer."""
    if isinstance(task, Classification):
        return [PREDICT, PROBABILITIES] if task.has_probabilities else [PREDICT]
    if isinstance(task, MultiOutput):
        names = task.names if task.has_probabilities else ()
        return [PREDICT, *(f"{PROBABILITIES}.{name}" for name in names)]
    if isinstance(task, OutlierDetection) and task.has_score:
        return [PREDICT, SCORE]
    return [PREDICT]


def rows_of_output(
    values: Sequence[Any], shape: Sequence[int], content_type: str | None
) -> OutputRows:
    """The elements of an output by row.

    Raises:
        ValueError: another number of elements than the shape has.
    """
    count, width = shape
    if len(values) != count * width:
        raise ValueError(f"{len(values)} elements of shape {list(shape)}")
    read = [orjson.loads(value) if content_type == JSON_TYPE else _text(value) for value in values]
    return [read[start : start + width] for start in range(0, len(read), width)]


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def answers_of(task: Task, outputs: Mapping[str, OutputRows]) -> list[dict[str, Any]]:
    """The answers that the service's own protocol would have given.

    Raises:
        LookupError, ValueError: an output is missing, or is none of such a task.
    """
    return task.answers(_prediction(task, outputs))


def _prediction(task: Task, outputs: Mapping[str, OutputRows]) -> Prediction:
    rows = outputs[PREDICT]
    names = outputs_of(task)[1:]
    if isinstance(task, Classification):
        labels = [_label(task.classes, label) for (label,) in rows]
        return Prediction(labels, outputs[PROBABILITIES] if names else None)
    if isinstance(task, MultiOutput):
        chosen = [
            [_label(output.classes, label) for output, label in zip(task.outputs, row, strict=True)]
            for row in rows
        ]
        if not names:
            return Prediction(chosen)
        scores = zip(*(outputs[name] for name in names), strict=True)
        return Prediction(chosen, [list(row) for row in scores])
    if isinstance(task, OutlierDetection):
        if unknown := {value for (value,) in rows} - {INLIER, OUTLIER}:
            raise ValueError(f"{unknown.pop()} is neither {INLIER} nor {OUTLIER}")
        found = [value == OUTLIER for (value,) in rows]
        return Prediction(found, [score for (score,) in outputs[SCORE]] if names else None)
    if task.name == "regression":
        return Prediction(rows)
    return Prediction([row[0] if len(row) == 1 else row for row in rows])


def _label(classes: Sequence[Label], found: Any) -> Any:
    """The class that an element names; what names none stays as it is.

    Classes of several types have one datatype: numbers are FP64, all others keys of JSON.
    """
    if isinstance(found, str):
        return next((each for each in classes if keys_of([each]) == (found,)), found)
    if isinstance(found, float):
        return next(
            (each for each in classes if type(each) in (int, float) and each == found), found
        )
    return found
