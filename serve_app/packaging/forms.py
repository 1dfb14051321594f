"""The form in which an estimator takes rows: found out by asking it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from serve_app.errors import excerpt
from serve_app.model.card import EstimatorInput
from serve_app.model.features import Feature
from serve_app.model.prediction import Prediction
from serve_app.model.sklearn_predictor import SklearnPredictor
from serve_app.model.tasks import Task
from serve_app.packaging.estimator import class_name, how_to_leave_out
from serve_app.packaging.moments import with_likely_moments
from serve_app.packaging.steps import Facts
from serve_app.packaging.tables import PackagingError, names


def taken_form(
    estimator: Any,
    task: Task,
    features: Sequence[Feature],
    rows: Any,
    expected: Prediction | None,
) -> EstimatorInput:
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
        try:
            found = SklearnPredictor(estimator, task, features, takes).predict(rows)
        except Exception as error:
            problems.append(f"as {takes}: {type(error).__name__}: {excerpt(str(error))}")
            continue
        different: list[int] = []
        if expected is not None:
            different = task.compare(found, expected, task.tolerances(expected)).disagreements
        if not different:
            form: EstimatorInput = takes
            return form
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
        # Nor which columns were datetimes.
        with_moments = with_likely_moments(frame)
        if with_moments is not None:
            yield with_moments.assign(**coded)


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
    if found.shape[:1] != (len(rows),) and found.shape[:1] == rows.shape[1:]:
        # Whatever iterates over a DataFrame gets the names of its columns.
        shown = names(rows.columns) if hasattr(rows, "columns") else f"{rows.shape[1]} columns"
        raise PackagingError(
            f"{class_name(estimator)} answers once for each column instead of each row: it takes "
            f"one column of texts, and is given {shown}; {how_to_leave_out('the others')}"
        )
    if found.shape[:1] != (len(rows),):
        raise PackagingError(
            f"{class_name(estimator)} answers {len(rows)} rows with an array of shape "
            f"{found.shape}; it must have one prediction for each row"
        )
    return found
