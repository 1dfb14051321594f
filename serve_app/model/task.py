"""What every task can do."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from serve_app.model.answers import object_schema
from serve_app.model.comparison import (
    PROBABILITY_TOLERANCE,
    Comparison,
    Tolerances,
    compare_numbers,
    same,
)
from serve_app.model.frozen import Frozen
from serve_app.model.prediction import Prediction

Label = StrictBool | StrictInt | StrictFloat | StrictStr
"""A class as the estimator names it; JSON keeps its type."""


Classes = Annotated[tuple[Label, ...], Field(min_length=1)]


class BaseTask(Frozen):
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


def keys_of(labels: Iterable[Any]) -> tuple[str, ...]:
    """Labels as JSON keys."""
    return tuple(str(label).lower() if isinstance(label, bool) else str(label) for label in labels)
