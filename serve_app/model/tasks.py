"""What a model predicts: a small closed set of tasks, each with its own answer.

A task turns one row's prediction into the JSON object that a client gets, describes that object as
a JSON schema, and compares two predictions. Adding a task means adding one class here.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from serve_app.model.frozen import Frozen

Label = StrictBool | StrictInt | StrictFloat | StrictStr
"""A class as the estimator names it; JSON keeps its type."""

Classes = Annotated[tuple[Label, ...], Field(min_length=1)]


class Output(Frozen):
    """One output of a classifier with several."""

    name: str
    classes: Classes


class Classification(Frozen):
    """One class for each row."""

    name: Literal["classification"] = "classification"
    classes: Annotated[tuple[Label, ...], Field(min_length=2)]
    has_probabilities: bool
    labels_follow_probabilities: bool
    """Every label is the most probable class, so one model call gives both."""


class MultiOutput(Frozen):
    """Several classes for each row, one of each output; multi-label models have classes 0 and 1."""

    name: Literal["multioutput"] = "multioutput"
    outputs: Annotated[tuple[Output, ...], Field(min_length=1)]
    has_probabilities: bool


class Regression(Frozen):
    """One number for each row and target."""

    name: Literal["regression"] = "regression"
    targets: Annotated[tuple[str, ...], Field(min_length=1)]


class OutlierDetection(Frozen):
    """Whether a row is an outlier, with the estimator's score: the lower, the more abnormal."""

    name: Literal["outlier"] = "outlier"
    has_score: bool


class PlainPrediction(Frozen):
    """Whatever ``predict`` returns: one JSON value for each row, such as a cluster."""

    name: Literal["prediction"] = "prediction"


Task = Annotated[
    Classification | MultiOutput | Regression | OutlierDetection | PlainPrediction,
    Field(discriminator="name"),
]


def keys_of(labels: Sequence[Any]) -> tuple[str, ...]:
    """Labels as JSON keys."""
    return tuple(
        str(label).lower() if isinstance(label, bool) else str(label) for label in labels
    )
