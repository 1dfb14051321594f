"""What an estimator predicts: its task, read from it and its first answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from serve_app.model.answers import SUM_TOLERANCE
from serve_app.model.task import Label, keys_of
from serve_app.model.tasks import (
    Classification,
    MultiOutput,
    OutlierDetection,
    Output,
    PlainPrediction,
    Regression,
    Task,
)
from serve_app.packaging.estimator import class_name
from serve_app.packaging.tables import PackagingError, names


def task_of(estimator: Any, rows: Any, values: Any, targets: Sequence[str] | None) -> Task:
    """What the estimator predicts.

    Args:
        estimator: it is fitted.
        rows: rows in the form in which it takes them.
        values: what its ``predict`` returned for ``rows``.
        targets: names of its outputs; None for the default ones.

    Raises:
        PackagingError: labels that JSON has not, or another number of targets than of outputs.
    """
    kind = _kind(estimator)
    if kind == "outlier":
        return OutlierDetection(has_score=_can(estimator, "decision_function", rows))
    if kind == "classifier":
        return _classification(estimator, values, rows, targets)
    if kind == "regressor":
        return Regression(targets=_names(targets, _width(values), "target"))
    return PlainPrediction()


def _kind(estimator: Any) -> str:
    """``classifier``, ``regressor``, ``outlier``, or another name."""
    from sklearn import base

    for kind, asks in (
        ("outlier", base.is_outlier_detector),
        ("classifier", base.is_classifier),
        ("regressor", base.is_regressor),
    ):
        try:
            if asks(estimator):
                return kind
        except Exception:  # noqa: S112 - an estimator without scikit-learn's tags
            continue
    if getattr(estimator, "classes_", None) is not None:
        return "classifier"
    return str(getattr(estimator, "_estimator_type", None) or "other")


def _classification(
    estimator: Any, values: Any, rows: Any, targets: Sequence[str] | None
) -> Classification | MultiOutput:
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        raise PackagingError(
            f"{class_name(estimator)} has no classes_: call fit first, then package it"
        )
    width = _width(values)
    if isinstance(classes, list) and len(classes) and np.ndim(classes[0]) == 1:
        columns = values.reshape(len(values), -1).T
        outputs = [_labels(each, column) for each, column in zip(classes, columns, strict=True)]
    elif width > 1:
        outputs = [_labels((0, 1), column) for column in values.T]
    else:
        labels = _labels(classes, values.reshape(-1))
        if len(labels) < 2:  # noqa: PLR2004
            raise PackagingError(
                f"the estimator knows the one class {labels[0]!r} only; a classifier needs at "
                "least 2: fit on more than one"
            )
        return Classification(
            classes=labels,
            has_probabilities=_has_probabilities(estimator, rows, labels),
            labels_follow_probabilities=False,
        )
    return MultiOutput(
        outputs=tuple(
            Output(name=name, classes=each)
            for name, each in zip(_names(targets, len(outputs), "output"), outputs, strict=True)
        ),
        has_probabilities=_has_probabilities_of_each(estimator, rows, outputs),
    )


def _has_probabilities(estimator: Any, rows: Any, labels: Sequence[Label]) -> bool:
    """Whether ``predict_proba`` answers with what is one: for each class, adding up to 1.

    Some give scores of each class against all others, which do not.
    """
    try:
        return _add_up(np.asarray(estimator.predict_proba(rows)), len(rows), len(labels))
    except Exception:
        return False


def _has_probabilities_of_each(
    estimator: Any, rows: Any, outputs: Sequence[Sequence[Label]]
) -> bool:
    """As `_has_probabilities`, of several outputs."""
    try:
        found = estimator.predict_proba(rows)
        if not isinstance(found, list):
            # Multi-label: the probability of class 1 of each output.
            return bool(found.shape == (len(rows), len(outputs)))
        return len(found) == len(outputs) and all(
            _add_up(np.asarray(each), len(rows), len(labels))
            for each, labels in zip(found, outputs, strict=True)
        )
    except Exception:
        return False


def _add_up(probabilities: Any, rows: int, classes: int) -> bool:
    if probabilities.shape != (rows, classes):
        return False
    totals = probabilities.sum(axis=1)
    return bool((np.abs(totals[np.isfinite(totals)] - 1) <= SUM_TOLERANCE).all())


def _labels(classes: Any, predicted: Any) -> tuple[Label, ...]:
    """Classes as JSON has them, and of the type that ``predict`` returns them in.

    A chain of classifiers knows 1 and predicts 1.0, CatBoost knows True and predicts "True".
    """
    labels = [
        label.item() if isinstance(label, np.generic) else label
        for label in np.asarray(classes).tolist()
    ]
    types = {type(label) for label in predicted.tolist()}
    if len(types) == 1 and types != set(map(type, labels)) and types <= {bool, int, float, str}:
        (as_predicted,) = types
        converted = [as_predicted(label) for label in labels]
        if set(predicted.tolist()) <= set(converted) and len(set(converted)) == len(labels):
            labels = converted
    for label in labels:
        if not isinstance(label, bool | int | float | str) or label != label:  # noqa: PLR0124
            raise PackagingError(
                f"class {label!r} is a {type(label).__name__}; labels must be strings, numbers or "
                "booleans: fit on y.astype(str)"
            )
    keys = keys_of(labels)
    repeated = sorted({key for key in keys if keys.count(key) > 1})
    if repeated:
        raise PackagingError(
            f"classes that JSON keys do not keep apart: {', '.join(repeated)}; fit on labels of "
            "one type"
        )
    return tuple(labels)


def _names(targets: Sequence[str] | None, count: int, noun: str) -> tuple[str, ...]:
    if targets is None:
        return (noun,) if count == 1 else tuple(f"{noun}_{number}" for number in range(count))
    if len(targets) != count or len(set(targets)) != count:
        raise PackagingError(
            f"{len(targets)} names of targets, {names(targets)}, for {count} outputs of the "
            "estimator; give each output a name of its own"
        )
    return tuple(targets)


def _width(values: Any) -> int:
    return 1 if values.ndim == 1 else int(values.shape[1])


def _can(estimator: Any, method: str, rows: Any) -> bool:
    """Whether a method is there and answers."""
    try:
        getattr(estimator, method)(rows)
    except Exception:
        return False
    return True
