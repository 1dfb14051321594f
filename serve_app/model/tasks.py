"""What a model predicts: a small closed set of tasks, each with its own answer.

A task turns a prediction into the JSON objects that a client gets, describes such an object as a
JSON schema, reads it back, and compares two predictions. Adding a task means adding one class here
and the way in which each engine is asked for it.
"""

import collections
import itertools
import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from serve_app.model.answers import (
    NO_PROBABILITIES,
    fields,
    object_schema,
    probabilities_of,
    probability_schema,
    require_label,
    require_no_probabilities,
    require_number,
)
from serve_app.model.comparison import (
    PROBABILITY_TOLERANCE,
    Comparison,
    Tolerances,
    compare_numbers,
    flat,
    floats,
    same,
)
from serve_app.model.frozen import Frozen
from serve_app.model.prediction import Prediction

Label = StrictBool | StrictInt | StrictFloat | StrictStr
"""A class as the estimator names it; JSON keeps its type."""

Classes = Annotated[tuple[Label, ...], Field(min_length=1)]


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
        return object_schema(self.properties())

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
            if not same(one, other)
        }
        numbers = compare_numbers(
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
            "probabilities": probability_schema(self.keys)
            if self.has_probabilities
            else NO_PROBABILITIES,
        }

    def prediction_of(self, answer: Any) -> Prediction:
        """See `_Task.prediction_of`."""
        label, probabilities = fields(answer, "predicted_class", "probabilities")
        require_label(label, self.classes)
        if not self.has_probabilities:
            require_no_probabilities(probabilities)
            return Prediction([label])
        row = probabilities_of(probabilities, self.keys)
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
        return next(index for index, known in enumerate(self.classes) if same(known, label))


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
            "predicted_class": object_schema(
                {output.name: {"enum": list(output.classes)} for output in self.outputs}
            ),
            "probabilities": object_schema(
                {
                    name: probability_schema(keys)
                    for name, keys in zip(self.names, self.keys, strict=True)
                }
            )
            if self.has_probabilities
            else NO_PROBABILITIES,
        }

    def prediction_of(self, answer: Any) -> Prediction:
        """See `_Task.prediction_of`."""
        labels, probabilities = fields(answer, "predicted_class", "probabilities")
        chosen = fields(labels, *self.names)
        for label, output in zip(chosen, self.outputs, strict=True):
            require_label(label, output.classes)
        if not self.has_probabilities:
            require_no_probabilities(probabilities)
            return Prediction([list(chosen)])
        row = list(map(probabilities_of, fields(probabilities, *self.names), self.keys))
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
        sizes = [abs(number) for number in flat(self._all_numbers(expected))]
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
        return {"prediction": object_schema(dict.fromkeys(self.targets, number))}

    def prediction_of(self, answer: Any) -> Prediction:
        """See `_Task.prediction_of`."""
        (found,) = fields(answer, "prediction")
        values = (found,) if len(self.targets) == 1 else fields(found, *self.targets)
        return Prediction([list(map(require_number, values))])

    def compare(
        self, found: Prediction, expected: Prediction, tolerances: Tolerances
    ) -> Comparison:
        """See `_Task.compare`."""
        return compare_numbers(found.values, expected.values, tolerances)

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
        value, score = fields(answer, "is_outlier", "score")
        if not isinstance(value, bool):
            raise ValueError("is_outlier that is neither true nor false")  # noqa: TRY004
        if self.has_score:
            return Prediction([value], [require_number(score)])
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
        return Prediction(list(fields(answer, "prediction")))

    def compare(
        self, found: Prediction, expected: Prediction, tolerances: Tolerances
    ) -> Comparison:
        """See `_Task.compare`."""
        different: list[int] = []
        largest = 0.0
        for row, (one, other) in enumerate(zip(found.values, expected.values, strict=True)):
            if same(one, other):
                continue
            numbers, others = floats(one), floats(other)
            if numbers is None or others is None:
                different.append(row)
                continue
            compared = compare_numbers([numbers], [others], tolerances)
            largest = max(largest, compared.largest_difference)
            if compared.disagreements:
                different.append(row)
        return Comparison(different, largest)

    def _all_numbers(self, prediction: Prediction) -> list[Any]:
        return [number for value in prediction.values for number in floats(value) or ()]


Task = Annotated[
    Classification | MultiOutput | Regression | OutlierDetection | PlainPrediction,
    Field(discriminator="name"),
]


def keys_of(labels: Iterable[Any]) -> tuple[str, ...]:
    """Labels as JSON keys."""
    return tuple(str(label).lower() if isinstance(label, bool) else str(label) for label in labels)
