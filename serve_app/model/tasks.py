"""What a model predicts: a small closed set of tasks, each with its own answer.

A task turns a prediction into the JSON objects that a client gets, describes such an object as a
JSON schema, reads it back, and compares two predictions. Adding a task means adding one class here
and the way in which each engine is asked for it.
"""

from typing import Annotated

from pydantic import Field

from serve_app.model.class_tasks import Classification, MultiOutput, Output
from serve_app.model.number_tasks import OutlierDetection, PlainPrediction, Regression
from serve_app.model.task import Label, keys_of

__all__ = [
    "Classification",
    "Label",
    "MultiOutput",
    "OutlierDetection",
    "Output",
    "PlainPrediction",
    "Regression",
    "Task",
    "keys_of",
]

Task = Annotated[
    Classification | MultiOutput | Regression | OutlierDetection | PlainPrediction,
    Field(discriminator="name"),
]
