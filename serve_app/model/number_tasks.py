"""Tasks whose answers are numbers of the scale of the data."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from serve_app.model.answers import fields, object_schema, require_number
from serve_app.model.comparison import (
    PROBABILITY_TOLERANCE,
    Comparison,
    Tolerances,
    compare_numbers,
    flat,
    floats,
    same,
)
from serve_app.model.prediction import Prediction
from serve_app.model.task import BaseTask


class _Numeric(BaseTask):
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
        """See `BaseTask.answers`."""
        if len(self.targets) == 1:
            return [{"prediction": value} for (value,) in prediction.values]
        return [
            {"prediction": dict(zip(self.targets, values, strict=True))}
            for values in prediction.values
        ]

    def properties(self) -> dict[str, dict[str, Any]]:
        """See `BaseTask.properties`."""
        number = {"type": "number"}
        if len(self.targets) == 1:
            return {"prediction": {**number, "title": self.targets[0]}}
        return {"prediction": object_schema(dict.fromkeys(self.targets, number))}

    def prediction_of(self, answer: Any) -> Prediction:
        """See `BaseTask.prediction_of`."""
        (found,) = fields(answer, "prediction")
        values = (found,) if len(self.targets) == 1 else fields(found, *self.targets)
        return Prediction([list(map(require_number, values))])

    def compare(
        self, found: Prediction, expected: Prediction, tolerances: Tolerances
    ) -> Comparison:
        """See `BaseTask.compare`."""
        return compare_numbers(found.values, expected.values, tolerances)

    def tolerances(self, expected: Prediction) -> Tolerances:
        """Those of the target with the smallest numbers: one tolerance must fit all targets."""
        return min(
            super(Regression, self).tolerances(Prediction([[number] for number in column]))
            for column in zip(*expected.values, strict=True)
        )

    def facts(self) -> dict[str, str]:
        """See `BaseTask.facts`."""
        return {"targets": ", ".join(self.targets)}

    def span_attributes(self, values: Sequence[Any]) -> dict[str, Any]:
        """See `BaseTask.span_attributes`."""
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
        """See `BaseTask.answers`."""
        scores = prediction.scores or [None] * len(prediction.values)
        return [
            {"is_outlier": value, "score": score}
            for value, score in zip(prediction.values, scores, strict=True)
        ]

    def properties(self) -> dict[str, dict[str, Any]]:
        """See `BaseTask.properties`."""
        return {
            "is_outlier": {"type": "boolean"},
            "score": {"type": "number", "description": "The lower, the more abnormal."}
            if self.has_score
            else {"type": "null", "description": "This detector gives no score."},
        }

    def prediction_of(self, answer: Any) -> Prediction:
        """See `BaseTask.prediction_of`."""
        value, score = fields(answer, "is_outlier", "score")
        if not isinstance(value, bool):
            raise ValueError("is_outlier that is neither true nor false")  # noqa: TRY004
        if self.has_score:
            return Prediction([value], [require_number(score)])
        if score is not None:
            raise ValueError("a score that the model does not have")
        return Prediction([value])

    def facts(self) -> dict[str, str]:
        """See `BaseTask.facts`."""
        return {"score": "yes" if self.has_score else "no"}

    def span_attributes(self, values: Sequence[Any]) -> dict[str, Any]:
        """See `BaseTask.span_attributes`."""
        return {"is_outlier": values[0]} if len(values) == 1 else {"outliers": sum(values)}

    def countable(self, values: list[Any]) -> list[Any]:
        """See `BaseTask.countable`."""
        return values


class PlainPrediction(_Numeric):
    """Whatever ``predict`` returns: one JSON value for each row, such as a cluster."""

    noun: ClassVar[str] = "model"

    name: Literal["prediction"] = "prediction"

    def answers(self, prediction: Prediction) -> list[dict[str, Any]]:
        """See `BaseTask.answers`."""
        return [{"prediction": value} for value in prediction.values]

    def properties(self) -> dict[str, dict[str, Any]]:
        """See `BaseTask.properties`."""
        return {"prediction": {"description": "What the estimator's predict returns."}}

    def prediction_of(self, answer: Any) -> Prediction:
        """See `BaseTask.prediction_of`."""
        return Prediction(list(fields(answer, "prediction")))

    def compare(
        self, found: Prediction, expected: Prediction, tolerances: Tolerances
    ) -> Comparison:
        """See `BaseTask.compare`."""
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
