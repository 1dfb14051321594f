"""What packaging reads from an estimator: its classes, its columns and a first prediction."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from serve_app.model.card import Sample
from serve_app.model.features import Feature
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Predictor, Rows, most_probable
from serve_app.model.tasks import Classification, Label
from serve_app.packaging.columns import PackagingError


def classes_of(estimator: Any) -> tuple[Label, ...]:
    """Classes of a fitted classifier, as plain strings, numbers and booleans.

    Raises:
        PackagingError: not a fitted classifier, or other labels.
    """
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        raise PackagingError(
            f"{type(estimator).__name__} has no classes_: it is not a fitted classifier; "
            "call fit first, and package classifiers only"
        )
    labels = np.asarray(classes).tolist()
    for label in labels:
        if not isinstance(label, str | int | float):
            raise PackagingError(
                f"class {label!r} is a {type(label).__name__}; labels must be strings, numbers or "
                "booleans: fit on y.astype(str)"
            )
    return tuple(labels)


def check_columns(estimator: Any, features: tuple[Feature, ...], rows: Rows | None) -> None:
    """Check that features and training rows have the columns of the estimator, in its order.

    Raises:
        PackagingError: they differ.
    """
    widths = {"features": len(features)}
    if rows is not None:
        widths["training_data"] = rows.shape[1]
    if hasattr(estimator, "n_features_in_"):
        widths["estimator"] = int(estimator.n_features_in_)
    if len(set(widths.values())) > 1:
        found = ", ".join(f"{owner} has {width}" for owner, width in widths.items())
        raise PackagingError(f"numbers of columns differ: {found}")
    named = [str(column) for column in getattr(estimator, "feature_names_in_", [])]
    given = [feature.name for feature in features]
    if named and sorted(named) == sorted(given) and named != given:
        raise PackagingError(f"the estimator takes its columns in the order {', '.join(named)}")


def first_answer(reference: Predictor, features: tuple[Feature, ...]) -> Prediction:
    """The estimator's prediction for the middle of the ranges.

    Raises:
        PackagingError: it cannot predict a plain array.
    """
    try:
        return reference.predict(_middle_row(features))
    except Exception as error:
        raise PackagingError(
            f"the estimator cannot predict a plain array of {len(features)} numbers "
            f"({type(error).__name__}: {error}); select columns by position, not by name, and fit "
            "on numeric columns"
        ) from error


def labels_follow(prediction: Prediction, classes: Sequence[Label]) -> bool:
    """Whether every label is the most probable class."""
    if prediction.scores is None:
        return False
    followed = most_probable(np.asarray(prediction.scores), classes)
    return followed.values == prediction.values


def sample_of(
    reference: Predictor,
    features: tuple[Feature, ...],
    task: Classification,
    rows: Rows | None,
) -> Sample:
    """The card's sample: the first training row, or the middle of the ranges, with its answer."""
    row = _middle_row(features) if rows is None else rows[:1]
    prediction = reference.predict(row)
    return Sample(
        instance={f.name: value for f, value in zip(features, row[0].tolist(), strict=True)},
        answer=task.answers(prediction)[0],
    )


def _middle_row(features: tuple[Feature, ...]) -> Rows:
    ends = np.array([(feature.minimum, feature.maximum) for feature in features], dtype=np.float64)
    return ends.mean(axis=1)[np.newaxis]
