"""What a model predicts: a small closed set of tasks, each with its own answer.

A task turns a prediction into the JSON objects that a client gets, describes such an object as a
JSON schema, reads it back, and compares two predictions. Adding a task means adding one class here
and the way in which each engine is asked for it.
"""

import collections
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from serve_app.model.frozen import Frozen
from serve_app.model.prediction import Prediction

Label = StrictBool | StrictInt | StrictFloat | StrictStr
"""A class as the estimator names it; JSON keeps its type."""

Classes = Annotated[tuple[Label, ...], Field(min_length=1)]

PROBABILITY_TOLERANCE = 1e-5
"""Largest probability difference at which two forms of a model count as one.

Single precision keeps 24 bits (6e-8); a sum over some hundred trees or classes loses two decimal
digits of it, so 1e-5 separates rounding from another decision."""

SUM_TOLERANCE = 1e-4
"""Largest distance from 1 of a sum of probabilities."""


class Tolerances(NamedTuple):
    """A number agrees if it differs by at most ``absolute + relative * |expected|``."""

    absolute: float
    relative: float = 0.0


class Comparison(NamedTuple):
    """How two predictions of the same rows differ."""

    disagreements: list[int]
    """Positions of the rows with another answer: another value, or a number beyond tolerance."""
    largest_difference: float
    """Largest absolute difference of any number; infinity where a number has no counterpart."""


class Output(Frozen):
    """One output of a classifier with several."""

    name: str
    classes: Classes


class _Task(Frozen):
    """What every task can do."""

    noun: ClassVar[str]
    """What a model of this task is called."""

    def answers(self, prediction: Prediction) -> list[dict[str, Any]]:
        """The JSON object of each row, without the version of the model."""
        raise NotImplementedError

    def answer(self, value: Any, score: Any = None) -> dict[str, Any]:
        """The JSON object of one row."""
        return self.answers(Prediction([value], None if score is None else [score]))[0]

    def properties(self) -> dict[str, dict[str, Any]]:
        """JSON schema of each field of an answer; all of them are required."""
        raise NotImplementedError

    def answer_schema(self) -> dict[str, Any]:
        """JSON schema of the answer to one row."""
        return _object_schema(self.properties())

    def prediction_of(self, answer: Any) -> Prediction:
        """The prediction of one row that ``answer`` shows: the inverse of `answer`.

        Raises:
            ValueError: not an answer of this task; says what is wrong.
        """
        raise NotImplementedError

    def tolerances(self, expected: Prediction) -> Tolerances:
        """Tolerances that fit the numbers in ``expected``."""
        del expected
        return Tolerances(PROBABILITY_TOLERANCE)

    def compare(
        self, found: Prediction, expected: Prediction, tolerances: Tolerances
    ) -> Comparison:
        """Compare two predictions of the same rows."""
        different = {
            row
            for row, (one, other) in enumerate(zip(found.values, expected.values, strict=True))
            if not _same(one, other)
        }
        numbers = _compare_numbers(
            self._numbers(found.scores), self._numbers(expected.scores), tolerances
        )
        return Comparison(
            sorted(different.union(numbers.disagreements)), numbers.largest_difference
        )

    def problem_with(self, answer: Any, expected: Any = None) -> str | None:
        """What is wrong with the answer of a service to one row, or None.

        Args:
            answer: the JSON object that the service gave.
            expected: the JSON object that it should have given; None if that is not known.
        """
        # The usual case, several times faster: a load test checks thousands of answers a second.
        if expected is not None and repr(answer) == repr(expected):
            return None
        try:
            found = self.prediction_of(answer)
            if expected is None:
                return None
            wanted = self.prediction_of(expected)
        except ValueError as error:
            return str(error)
        different = self.compare(found, wanted, self.tolerances(wanted)).disagreements
        return f"not the {self.noun}'s answer" if different else None

    def facts(self) -> dict[str, str]:
        """What a person wants to know of the task."""
        return {}

    def span_attributes(self, values: Sequence[Any]) -> dict[str, Any]:
        """Attributes of a span that describe the answers."""
        del values
        return {}

    def countable(self, values: list[Any]) -> list[Any]:
        """For each row what is counted in metrics: a value of few different ones, or ''."""
        return [""] * len(values)

    def _numbers(self, scores: list[Any] | None) -> list[Any] | None:
        """Scores of rows with one flat list of numbers, or one number, for each row."""
        return scores


class Classification(_Task):
    """One class for each row."""

    noun: ClassVar[str] = "classifier"

    name: Literal["classification"] = "classification"
    classes: Annotated[tuple[Label, ...], Field(min_length=2)]
    has_probabilities: bool
    labels_follow_probabilities: bool
    """Every label is the most probable class, so one model call gives both."""

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The classes as JSON keys."""
        return keys_of(self.classes)

    def answers(self, prediction: Prediction) -> list[dict[str, Any]]:
        """See `_Task.answers`."""
        labels, probabilities = prediction
        if probabilities is None:
            return [{"predicted_class": label, "probabilities": None} for label in labels]
        keys = self.keys
        return [
            {"predicted_class": label, "probabilities": dict(zip(keys, row, strict=True))}
            for label, row in zip(labels, probabilities, strict=True)
        ]

    def properties(self) -> dict[str, dict[str, Any]]:
        """See `_Task.properties`."""
        return {
            "predicted_class": {"enum": list(self.classes)},
            "probabilities": _probability_schema(self.keys)
            if self.has_probabilities
            else _NO_PROBABILITIES,
        }

    def prediction_of(self, answer: Any) -> Prediction:
        """See `_Task.prediction_of`."""
        label, probabilities = _fields(answer, "predicted_class", "probabilities")
        _require_label(label, self.classes)
        row = _probabilities_of(
            probabilities, self.classes if self.has_probabilities else None, self.keys
        )
        if row is None:
            return Prediction([label])
        if self.labels_follow_probabilities and max(row) > row[self._position(label)]:
            raise ValueError("a class that is not the most probable one")
        return Prediction([label], [row])

    def facts(self) -> dict[str, str]:
        """See `_Task.facts`."""
        return {
            "classes": ", ".join(self.keys),
            "probabilities": "yes" if self.has_probabilities else "no",
        }

    def span_attributes(self, values: Sequence[Any]) -> dict[str, Any]:
        """See `_Task.span_attributes`."""
        if len(values) == 1:
            return {"predicted_class": values[0]}
        counts = collections.Counter(values)
        return {
            "predicted_class": list(keys_of(list(counts))),
            "predicted_class_counts": list(counts.values()),
        }

    def countable(self, values: list[Any]) -> list[Any]:
        """See `_Task.countable`."""
        return values

    def _position(self, label: Any) -> int:
        return next(index for index, known in enumerate(self.classes) if _same(known, label))


class MultiOutput(_Task):
    """Several classes for each row, one of each output; multi-label models have classes 0 and 1."""

    noun: ClassVar[str] = "classifier of several outputs"

    name: Literal["multioutput"] = "multioutput"
    outputs: Annotated[tuple[Output, ...], Field(min_length=1)]
    has_probabilities: bool

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(output.name for output in self.outputs)

    @cached_property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """For each output its classes as JSON keys."""
        return tuple(keys_of(output.classes) for output in self.outputs)

    def answers(self, prediction: Prediction) -> list[dict[str, Any]]:
        """See `_Task.answers`."""
        names, keys = self.names, self.keys
        answers: list[dict[str, Any]] = [
            {"predicted_class": dict(zip(names, labels, strict=True)), "probabilities": None}
            for labels in prediction.values
        ]
        for answer, row in zip(answers, prediction.scores or (), strict=False):
            answer["probabilities"] = {
                name: dict(zip(classes, probabilities, strict=True))
                for name, classes, probabilities in zip(names, keys, row, strict=True)
            }
        return answers

    def properties(self) -> dict[str, dict[str, Any]]:
        """See `_Task.properties`."""
        return {
            "predicted_class": _object_schema(
                {output.name: {"enum": list(output.classes)} for output in self.outputs}
            ),
            "probabilities": _object_schema(
                {
                    name: _probability_schema(keys)
                    for name, keys in zip(self.names, self.keys, strict=True)
                }
            )
            if self.has_probabilities
            else _NO_PROBABILITIES,
        }

    def prediction_of(self, answer: Any) -> Prediction:
        """See `_Task.prediction_of`."""
        labels, probabilities = _fields(answer, "predicted_class", "probabilities")
        chosen = _fields(labels, *self.names)
        for label, output in zip(chosen, self.outputs, strict=True):
            _require_label(label, output.classes)
        if not self.has_probabilities:
            _probabilities_of(probabilities, None, ())
            return Prediction([list(chosen)])
        row = [
            _probabilities_of(each, output.classes, keys)
            for each, output, keys in zip(
                _fields(probabilities, *self.names), self.outputs, self.keys, strict=True
            )
        ]
        return Prediction([list(chosen)], [row])

    def facts(self) -> dict[str, str]:
        """See `_Task.facts`."""
        return {
            "outputs": "; ".join(
                f"{name}: {', '.join(keys)}"
                for name, keys in zip(self.names, self.keys, strict=True)
            ),
            "probabilities": "yes" if self.has_probabilities else "no",
        }

    def span_attributes(self, values: Sequence[Any]) -> dict[str, Any]:
        """See `_Task.span_attributes`."""
        if len(values) != 1:
            return {}
        return {
            f"predicted_class.{name}": label
            for name, label in zip(self.names, values[0], strict=True)
        }

    def _numbers(self, scores: list[Any] | None) -> list[Any] | None:
        if scores is None:
            return None
        return [list(itertools.chain.from_iterable(row)) for row in scores]


class _Numeric(_Task):
    """Tasks whose numbers have the scale of the data instead of that of probabilities."""

    def tolerances(self, expected: Prediction) -> Tolerances:
        """Relative to each number, and to the mean size of all for those that are nearly 0."""
        sizes = [abs(number) for number in _flat(self._all_numbers(expected))]
        mean = math.fsum(sizes) / len(sizes) if sizes else 0.0
        return Tolerances(PROBABILITY_TOLERANCE * mean, PROBABILITY_TOLERANCE)

    def _all_numbers(self, prediction: Prediction) -> list[Any]:
        return prediction.scores or []


class Regression(_Numeric):
    """One number for each row and target."""

    noun: ClassVar[str] = "regressor"

    name: Literal["regression"] = "regression"
    targets: Annotated[tuple[str, ...], Field(min_length=1)]

    def answers(self, prediction: Prediction) -> list[dict[str, Any]]:
        """See `_Task.answers`."""
        if len(self.targets) == 1:
            return [{"prediction": value} for (value,) in prediction.values]
        return [
            {"prediction": dict(zip(self.targets, values, strict=True))}
            for values in prediction.values
        ]

    def properties(self) -> dict[str, dict[str, Any]]:
        """See `_Task.properties`."""
        number = {"type": "number"}
        if len(self.targets) == 1:
            return {"prediction": {**number, "title": self.targets[0]}}
        return {"prediction": _object_schema(dict.fromkeys(self.targets, number))}

    def prediction_of(self, answer: Any) -> Prediction:
        """See `_Task.prediction_of`."""
        (found,) = _fields(answer, "prediction")
        values = (found,) if len(self.targets) == 1 else _fields(found, *self.targets)
        return Prediction([list(map(_require_number, values))])

    def compare(
        self, found: Prediction, expected: Prediction, tolerances: Tolerances
    ) -> Comparison:
        """See `_Task.compare`."""
        return _compare_numbers(found.values, expected.values, tolerances)

    def tolerances(self, expected: Prediction) -> Tolerances:
        """Those of the target with the smallest numbers: one tolerance must fit all targets."""
        return min(
            super(Regression, self).tolerances(Prediction([[number] for number in column]))
            for column in zip(*expected.values, strict=True)
        )

    def facts(self) -> dict[str, str]:
        """See `_Task.facts`."""
        return {"targets": ", ".join(self.targets)}

    def span_attributes(self, values: Sequence[Any]) -> dict[str, Any]:
        """See `_Task.span_attributes`."""
        if len(values) != 1:
            return {}
        (row,) = values
        return {"prediction": row[0] if len(row) == 1 else list(row)}

    def _all_numbers(self, prediction: Prediction) -> list[Any]:
        return prediction.values


class OutlierDetection(_Numeric):
    """Whether a row is an outlier, with the estimator's score: the lower, the more abnormal."""

    noun: ClassVar[str] = "outlier detector"

    name: Literal["outlier"] = "outlier"
    has_score: bool

    def answers(self, prediction: Prediction) -> list[dict[str, Any]]:
        """See `_Task.answers`."""
        scores = prediction.scores or [None] * len(prediction.values)
        return [
            {"is_outlier": value, "score": score}
            for value, score in zip(prediction.values, scores, strict=True)
        ]

    def properties(self) -> dict[str, dict[str, Any]]:
        """See `_Task.properties`."""
        return {
            "is_outlier": {"type": "boolean"},
            "score": {"type": "number", "description": "The lower, the more abnormal."}
            if self.has_score
            else {"type": "null", "description": "This detector gives no score."},
        }

    def prediction_of(self, answer: Any) -> Prediction:
        """See `_Task.prediction_of`."""
        value, score = _fields(answer, "is_outlier", "score")
        if not isinstance(value, bool):
            raise ValueError("is_outlier that is neither true nor false")  # noqa: TRY004
        if self.has_score:
            return Prediction([value], [_require_number(score)])
        if score is not None:
            raise ValueError("a score that the model does not have")
        return Prediction([value])

    def facts(self) -> dict[str, str]:
        """See `_Task.facts`."""
        return {"score": "yes" if self.has_score else "no"}

    def span_attributes(self, values: Sequence[Any]) -> dict[str, Any]:
        """See `_Task.span_attributes`."""
        return {"is_outlier": values[0]} if len(values) == 1 else {"outliers": sum(values)}

    def countable(self, values: list[Any]) -> list[Any]:
        """See `_Task.countable`."""
        return values


class PlainPrediction(_Numeric):
    """Whatever ``predict`` returns: one JSON value for each row, such as a cluster."""

    noun: ClassVar[str] = "model"

    name: Literal["prediction"] = "prediction"

    def answers(self, prediction: Prediction) -> list[dict[str, Any]]:
        """See `_Task.answers`."""
        return [{"prediction": value} for value in prediction.values]

    def properties(self) -> dict[str, dict[str, Any]]:
        """See `_Task.properties`."""
        return {"prediction": {"description": "What the estimator's predict returns."}}

    def prediction_of(self, answer: Any) -> Prediction:
        """See `_Task.prediction_of`."""
        return Prediction(list(_fields(answer, "prediction")))

    def compare(
        self, found: Prediction, expected: Prediction, tolerances: Tolerances
    ) -> Comparison:
        """See `_Task.compare`."""
        different: list[int] = []
        largest = 0.0
        for row, (one, other) in enumerate(zip(found.values, expected.values, strict=True)):
            if _same(one, other):
                continue
            numbers, others = _floats(one), _floats(other)
            if numbers is None or others is None:
                different.append(row)
                continue
            compared = _compare_numbers([numbers], [others], tolerances)
            largest = max(largest, compared.largest_difference)
            if compared.disagreements:
                different.append(row)
        return Comparison(different, largest)

    def _all_numbers(self, prediction: Prediction) -> list[Any]:
        return [number for value in prediction.values for number in _floats(value) or ()]


Task = Annotated[
    Classification | MultiOutput | Regression | OutlierDetection | PlainPrediction,
    Field(discriminator="name"),
]


def keys_of(labels: Iterable[Any]) -> tuple[str, ...]:
    """Labels as JSON keys."""
    return tuple(str(label).lower() if isinstance(label, bool) else str(label) for label in labels)


_NO_PROBABILITIES = {"type": "null", "description": "This classifier gives no probabilities."}


def _object_schema(properties: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _probability_schema(keys: Iterable[str]) -> dict[str, Any]:
    return {
        **_object_schema(
            {key: {"type": "number", "minimum": 0, "maximum": 1.00001} for key in keys}
        ),
        "description": "Probability of each class; they add up to 1.",
    }


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: 1, 1.0 and true are not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) and type(one) is type(other)


def _compare_numbers(
    found: list[Any] | None, expected: list[Any] | None, tolerances: Tolerances
) -> Comparison:
    """Compare lists with one number, or one list of numbers, for each row."""
    if found is None and expected is None:
        return Comparison([], 0.0)
    if found is None or expected is None:
        return Comparison(list(range(len(found or expected or ()))), math.inf)
    import numpy as np

    one, other = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if one.shape != other.shape:
        return Comparison(list(range(len(found))), math.inf)
    difference = np.abs(one - other).reshape(len(one), -1)
    allowed = tolerances.absolute + tolerances.relative * np.abs(other).reshape(len(one), -1)
    # Not "difference > allowed": NaN agrees with nothing.
    disagrees = ~(difference <= allowed).all(axis=1)
    return Comparison(np.flatnonzero(disagrees).tolist(), float(difference.max(initial=0.0)))


def _flat(numbers: list[Any]) -> Iterable[float]:
    for each in numbers:
        if isinstance(each, list):
            yield from _flat(each)
        else:
            yield each


def _floats(value: Any) -> list[float] | None:
    """A float, or a list of floats, as a list; None for anything else."""
    values = value if isinstance(value, list) else [value]
    return values if all(isinstance(each, float) for each in values) else None


def _fields(answer: Any, *names: str) -> tuple[Any, ...]:
    if not isinstance(answer, Mapping):
        raise ValueError("an answer that is no JSON object")  # noqa: TRY004
    # The version of the model may be among them.
    missing = [name for name in names if name not in answer]
    if missing:
        raise ValueError(f"an answer without {', '.join(missing)}")
    return tuple(answer[name] for name in names)


def _require_label(label: Any, classes: Sequence[Any]) -> None:
    if not any(_same(known, label) for known in classes):
        raise ValueError(f"a class that the model does not have: {label!r}")


def _require_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} where a finite number must be")
    return float(value)


def _probabilities_of(
    found: Any, classes: Sequence[Any] | None, keys: Sequence[str]
) -> list[float] | None:
    if classes is None:
        if found is not None:
            raise ValueError("probabilities that the model does not have")
        return None
    if not isinstance(found, Mapping) or list(found) != list(keys):
        raise ValueError(f"probabilities that are not those of {', '.join(keys)}, in this order")
    row = list(map(_require_number, found.values()))
    if abs(sum(row) - 1) > SUM_TOLERANCE:
        raise ValueError("probabilities that do not add up to 1")
    return row
