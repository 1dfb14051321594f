"""What packaging reads from an estimator: its task, its columns, and what it takes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args

import numpy as np

from serve_app.errors import excerpt
from serve_app.model.card import EstimatorInput
from serve_app.model.features import Feature
from serve_app.model.prediction import Prediction
from serve_app.model.sklearn_predictor import SklearnPredictor
from serve_app.model.tasks import (
    Classification,
    Label,
    MultiOutput,
    OutlierDetection,
    Output,
    PlainPrediction,
    Regression,
    Task,
    keys_of,
)
from serve_app.packaging.steps import Facts, parts_of
from serve_app.packaging.tables import PackagingError, names

COMPARED_ROWS = 1_000
"""Training rows on which it is found out what the estimator takes."""


class Taken(NamedTuple):
    """How the estimator takes rows."""

    takes: EstimatorInput
    reference: SklearnPredictor
    """Answers rows that requests can be."""


def class_name(estimator: Any) -> str:
    """Name for messages."""
    return type(estimator).__name__


def require_estimator(estimator: Any) -> None:
    """Check that there is something to ask.

    Raises:
        PackagingError: no ``predict``.
    """
    if isinstance(estimator, dict | list | tuple):
        raise PackagingError(
            f"a {class_name(estimator)} is no estimator; give the fitted estimator itself"
        )
    if isinstance(estimator, type):
        raise PackagingError(f"{estimator.__name__} is a class; give a fitted estimator")
    if not callable(getattr(estimator, "predict", None)):
        raise PackagingError(
            f"{class_name(estimator)} has no predict, so there is nothing to serve; package an "
            "estimator or a pipeline that predicts"
        )
    if f"{type(estimator).__module__}.{class_name(estimator)}" == "xgboost.core.Booster":
        raise PackagingError(
            "a Booster takes no tables; load it into an XGBClassifier or XGBRegressor with "
            "load_model, and package that"
        )


def own_names(estimator: Any) -> tuple[str, ...]:
    """Names of the columns that the estimator was fitted on; none if it does not know them."""
    for part in parts_of(estimator):
        found = getattr(part, "feature_names_in_", None)
        if found is None and hasattr(part, "get_cat_feature_indices"):  # CatBoost
            found = part.feature_names_
            if list(found) == [str(position) for position in range(len(found))]:
                found = None
        if found is not None:
            return tuple(map(str, found))
        if hasattr(part, "transformers_") or hasattr(part, "n_features_in_"):
            return ()
    return ()


def order_of_columns(estimator: Any, given: Sequence[str]) -> list[str]:
    """The given names, in the order in which the estimator takes its columns.

    Raises:
        PackagingError: another number of columns, or other names than the estimator's.
    """
    known = own_names(estimator)
    if not known:
        width = getattr(estimator, "n_features_in_", None)
        if width is not None and int(width) != len(given):
            raise PackagingError(
                f"numbers of columns differ: features has {len(given)}, estimator has "
                f"{int(width)}; the columns given are {names(given)}"
            )
        return list(given)
    spelled = {name: name for name in given}
    if set(spelled) != set(known) and "lightgbm" in _libraries(estimator):
        # LightGBM has its names without blanks, and takes them as they were.
        spelled = {name.replace(" ", "_"): name for name in given}
    if len(given) != len(known) or set(spelled) != set(known):
        raise PackagingError(_other_names(known, given))
    return [spelled[name] for name in known]


def _libraries(estimator: Any) -> set[str]:
    return {type(part).__module__.partition(".")[0] for part in parts_of(estimator)}


def _other_names(known: Sequence[str], given: Sequence[str]) -> str:
    missing = [name for name in known if name not in given]
    extra = [name for name in given if name not in known]
    fix = "give the columns under the names that it was fitted on"
    if extra and not missing:
        fix = f"leave out {names(extra)} (--target, --leave-out)"
    return (
        f"names of columns differ: the estimator was fitted on {names(known, 30)}; given are "
        f"{names(given, 30)}; {fix}"
    )


def take(
    estimator: Any,
    task: Task,
    features: Sequence[Feature],
    rows: Any,
    expected: Prediction | None,
) -> Taken:
    """Find out what the estimator takes: an array, or a DataFrame.

    Args:
        estimator: the fitted estimator.
        task: what it predicts.
        features: its columns.
        rows: rows to ask for.
        expected: what the estimator answers to the same rows in the form in which they were given;
            None if they were made here.

    Raises:
        PackagingError: it answers neither, or otherwise than ``expected``.
    """
    problems: list[str] = []
    for takes in get_args(EstimatorInput):
        if takes == "column" and len(features) > 1:
            continue
        reference = SklearnPredictor(estimator, task, features, takes)
        try:
            found = reference.predict(rows)
        except Exception as error:
            problems.append(f"as {takes}: {type(error).__name__}: {excerpt(str(error))}")
            continue
        if expected is None:
            return Taken(takes, reference)
        different = task.compare(found, expected, task.tolerances(expected)).disagreements
        if not different:
            return Taken(takes, reference)
        problems.append(f"as {takes}: {len(different)} of {len(rows)} rows have another answer")
    raise PackagingError(
        f"{class_name(estimator)} does not answer rows of JSON values as it answers the training "
        f"rows ({'; '.join(problems)}); correct the kinds of columns with a schema, or convert "
        "them in a step of the pipeline"
    )


def given_forms(frame: Any, original: Any, facts: Mapping[str, Facts]) -> Iterator[Any]:
    """Forms in which the estimator may take its training rows; the most likely first.

    Args:
        frame: the training rows as a pandas DataFrame.
        original: they themselves, if they were an array; else None.
        facts: what the estimator's steps say of the columns.
    """
    is_text = all(each.is_text for each in facts.values())
    if frame.shape[1] == 1 and is_text:
        yield frame.iloc[:, 0].to_numpy()
    if original is not None:
        yield original
    # A file does not say which columns were categorical.
    coded = {name: _categorical(frame[name], each) for name, each in facts.items() if each.is_coded}
    yield frame.assign(**coded) if coded else frame
    yield frame.to_numpy()
    if frame.shape[1] == 1 and not is_text:
        yield frame.iloc[:, 0].to_numpy()
    strings = frame.select_dtypes(["object", "string"])
    if len(strings.columns):
        yield frame.astype(dict.fromkeys(strings.columns, "category"))


def _categorical(column: Any, facts: Facts) -> Any:
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return column
    return column.astype(pd.CategoricalDtype(list(facts.categories)))


def first_answered(estimator: Any, forms: Iterable[Any], asked: Any) -> tuple[Any, Any]:
    """The first form of training rows that the estimator predicts, and what ``predict`` returned.

    Args:
        estimator: it is fitted.
        forms: all training rows in several forms.
        asked: positions of the rows that are asked for.

    Raises:
        PackagingError: none, or the estimator is not fitted.
    """
    problems: list[PackagingError] = []
    for form in forms:
        try:
            return form, _predicted(estimator, rows_at(form, asked))
        except PackagingError as error:
            problems.append(error)
    raise problems[0]


def rows_at(form: Any, positions: Any) -> Any:
    """Some rows of a DataFrame or an array."""
    return form.iloc[positions] if hasattr(form, "iloc") else form[positions]


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


def _predicted(estimator: Any, rows: Any) -> Any:
    from sklearn.exceptions import NotFittedError

    try:
        found = estimator.predict(rows)
    except NotFittedError as error:
        raise PackagingError(
            f"{class_name(estimator)} is not fitted: call fit first, then package it"
        ) from error
    except Exception as error:
        raise PackagingError(
            f"{class_name(estimator)} cannot predict the rows given "
            f"({type(error).__name__}: {excerpt(str(error))}); give the rows that it was fitted on"
        ) from error
    found = found.toarray() if hasattr(found, "toarray") else np.asarray(found)
    if found.shape[:1] != (len(rows),):
        raise PackagingError(
            f"{class_name(estimator)} answers {len(rows)} rows with an array of shape "
            f"{found.shape}; it must have one prediction for each row"
        )
    return found


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
    has_probabilities = _can(estimator, "predict_proba", rows)
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
            classes=labels, has_probabilities=has_probabilities, labels_follow_probabilities=False
        )
    return MultiOutput(
        outputs=tuple(
            Output(name=name, classes=each)
            for name, each in zip(_names(targets, len(outputs), "output"), outputs, strict=True)
        ),
        has_probabilities=has_probabilities,
    )


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
