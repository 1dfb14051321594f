"""Tasks whose answers are classes."""

import collections
import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from serve_app.model.answers import (
    NO_PROBABILITIES,
    fields,
    object_schema,
    probabilities_of,
    probability_schema,
    require_label,
    require_no_probabilities,
)
from serve_app.model.comparison import same
from serve_app.model.frozen import Frozen
from serve_app.model.prediction import Prediction
from serve_app.model.task import BaseTask, Classes, Label, keys_of


class Output(Frozen):
    """One output of a classifier with several."""

    name: str
    classes: Classes


class Classification(BaseTask):
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
        """See `BaseTask.answers`."""
        labels, probabilities = prediction
        if probabilities is None:
            return [{"predicted_class": label, "probabilities": None} for label in labels]
        keys = self.keys
        return [
            {"predicted_class": label, "probabilities": dict(zip(keys, row, strict=True))}
            for label, row in zip(labels, probabilities, strict=True)
        ]

    def properties(self) -> dict[str, dict[str, Any]]:
        """See `BaseTask.properties`."""
        return {
            "predicted_class": {"enum": list(self.classes)},
            "probabilities": probability_schema(self.keys)
            if self.has_probabilities
            else NO_PROBABILITIES,
        }

    def prediction_of(self, answer: Any) -> Prediction:
        """See `BaseTask.prediction_of`."""
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
        """See `BaseTask.facts`."""
        return {
            "classes": ", ".join(self.keys),
            "probabilities": "yes" if self.has_probabilities else "no",
        }

    def span_attributes(self, values: Sequence[Any]) -> dict[str, Any]:
        """See `BaseTask.span_attributes`."""
        if len(values) == 1:
            return {"predicted_class": values[0]}
        counts = collections.Counter(values)
        return {
            "predicted_class": list(keys_of(list(counts))),
            "predicted_class_counts": list(counts.values()),
        }

    def countable(self, values: list[Any]) -> list[Any]:
        """See `BaseTask.countable`."""
        return values

    def _position(self, label: Any) -> int:
        return next(index for index, known in enumerate(self.classes) if same(known, label))


class MultiOutput(BaseTask):
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
        """See `BaseTask.answers`."""
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
        """See `BaseTask.properties`."""
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
        """See `BaseTask.prediction_of`."""
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
        """See `BaseTask.facts`."""
        return {
            "outputs": "; ".join(
                f"{name}: {', '.join(keys)}"
                for name, keys in zip(self.names, self.keys, strict=True)
            ),
            "probabilities": "yes" if self.has_probabilities else "no",
        }

    def span_attributes(self, values: Sequence[Any]) -> dict[str, Any]:
        """See `BaseTask.span_attributes`."""
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
