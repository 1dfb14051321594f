"""What a model directory holds of an estimator and its data."""

import copyreg
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson

from serve_app.errors import excerpt
from serve_app.model.card import Sample
from serve_app.model.features import Feature
from serve_app.model.predictor import is_missing, most_probable
from serve_app.model.tasks import Classification, Task
from serve_app.packaging.estimator import class_name
from serve_app.packaging.evidence import Evidence
from serve_app.packaging.steps import parts_of
from serve_app.packaging.tables import PackagingError

THRESHOLDS = ("FixedThresholdClassifier", "TunedThresholdClassifierCV")
"""Estimators whose labels follow a threshold instead."""
LONGEST_DESCRIPTION = 2_000
"""Characters of the estimator's own description in the card."""


def with_labels_that_follow(estimator: Any, task: Task, evidence: Evidence) -> Task:
    """For a classifier: whether every label is the most probable class.

    Rows without a tie do not show what a threshold of 0.5 makes of one; such an estimator is asked.
    """
    if not isinstance(task, Classification) or evidence.expected.scores is None:
        return task
    if any(type(part).__name__ in THRESHOLDS for part in parts_of(estimator)):
        return task
    followed = most_probable(np.asarray(evidence.expected.scores), task.classes)
    return task.model_copy(
        update={"labels_follow_probabilities": followed.values == evidence.expected.values}
    )


def sample_of(features: Sequence[Feature], task: Task, evidence: Evidence) -> Sample:
    """A row that was compared, with the estimator's answer: a training row with few gaps."""
    # Training rows come first, if there are any.
    rows = evidence.rows[: evidence.coverage.training_rows or None]
    missing = np.isnan(rows) if rows.dtype == np.float64 else is_missing(rows)
    place = int(missing.sum(axis=1).argmin())
    row = rows[place]
    values, scores = evidence.expected
    return Sample(
        instance={
            feature.name: _json_value(feature, value)
            for feature, value in zip(features, row.tolist(), strict=True)
        },
        answer=task.answer(values[place], None if scores is None else scores[place]),
    )


def require_json(task: Task, evidence: Evidence) -> None:
    """Check that every answer can be sent.

    Raises:
        PackagingError: one has what JSON has not.
    """
    for answer in task.answers(evidence.expected):
        try:
            orjson.dumps(answer)
        except TypeError as error:
            raise PackagingError(
                f"the estimator answers {excerpt(repr(answer))}, which cannot be sent as JSON "
                f"({error}); let predict return numbers of up to 64 bits, strings or booleans"
            ) from error


def _json_value(feature: Feature, value: Any) -> Any:
    """A cell of a row as a request has it."""
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return None
    if feature.kind == "boolean":
        return bool(value)
    if feature.kind == "category":
        return next((known for known in feature.values if known == value), value)
    return int(value) if feature.kind == "integer" else value


def description_of(estimator: Any) -> str:
    """What the estimator says of itself, without addresses, which differ from run to run."""
    text = re.sub(r" at 0x[0-9a-f]+", "", " ".join(repr(estimator).split()))
    return text[:LONGEST_DESCRIPTION]


def bytes_of(rows: Any) -> bytes:
    """What identifies rows."""
    if rows.dtype == np.float64:
        return np.ascontiguousarray(rows).tobytes()
    return json.dumps(rows.tolist()).encode()


def pickled(estimator: Any) -> bytes:
    """The estimator as a file.

    Raises:
        PackagingError: it holds what cannot be written, such as a lambda.
    """
    import joblib

    buffer = io.BytesIO()
    try:
        with _trees_without_padding():
            joblib.dump(estimator, buffer)
    except Exception as error:
        raise PackagingError(
            f"{class_name(estimator)} cannot be written to a file: {excerpt(str(error))}; use "
            "named functions and classes of installed packages instead of lambdas and functions "
            "inside of functions"
        ) from error
    return buffer.getvalue()


@contextmanager
def _trees_without_padding() -> Iterator[None]:
    """Write scikit-learn's trees without the memory between the fields of their nodes.

    It is not initialised, and would give equal trees different digests. A pickler of its own would
    not do: joblib writes arrays of trees with another one.
    """
    module = sys.modules.get("sklearn.tree._tree")
    if module is None:
        yield
        return
    copyreg.pickle(module.Tree, _reduced_tree)
    try:
        yield
    finally:
        del copyreg.dispatch_table[module.Tree]


def _reduced_tree(tree: Any) -> tuple[Any, ...]:
    make, arguments, state = tree.__reduce__()
    nodes = np.zeros(state["nodes"].shape, state["nodes"].dtype)
    for field in nodes.dtype.names or ():
        nodes[field] = state["nodes"][field]
    return make, arguments, {**state, "nodes": nodes}
