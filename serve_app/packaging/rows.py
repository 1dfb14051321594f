"""Rows of a DataFrame as rows of the model."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from serve_app.errors import excerpt
from serve_app.model.features import Feature
from serve_app.packaging.tables import PackagingError


def encode(frame: Any, features: Sequence[Feature]) -> Any:
    """Rows of a pandas DataFrame, as `serve_app.model.predictor.Rows` describes them.

    Raises:
        PackagingError: a value does not fit the kind of its column.
    """
    numeric = all(feature.is_numeric for feature in features)
    rows = np.empty(frame.shape, dtype=np.float64 if numeric else object)
    for position, feature in enumerate(features):
        column = frame.iloc[:, position]
        try:
            rows[:, position] = _encoded(column, feature, numeric=numeric)
        except (TypeError, ValueError, OverflowError) as error:
            raise PackagingError(
                f"column {feature.name!r} has values that are no {feature.kind}: "
                f"{excerpt(str(error))}; correct its kind, or the values"
            ) from error
    return rows


def _encoded(column: Any, feature: Feature, *, numeric: bool) -> Any:
    missing = column.isna().to_numpy(dtype=bool)
    if numeric:
        return as_numbers(column)
    values = np.full(len(column), None, dtype=object)
    present = column[~missing]
    if feature.kind == "datetime":
        plain: list[Any] = as_moments(present)
    elif feature.kind == "text" or any(isinstance(value, str) for value in feature.values):
        plain = [str(value) for value in present]
    elif feature.kind == "boolean":
        plain = [bool(value) for value in as_numbers(present)]
    else:
        plain = as_numbers(present).tolist()
        if feature.kind == "integer" or _are_whole(feature.values):
            plain = [int(value) if value.is_integer() else value for value in plain]
    values[~missing] = np.array([*plain, None], dtype=object)[:-1]
    return values


def as_numbers(column: Any) -> Any:
    """A column as float64, NaN where a value is missing."""
    import pandas as pd

    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iufb":
        return column.to_numpy(dtype=np.float64)
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    return column.astype("object").where(column.notna(), np.nan).astype("float64").to_numpy()


def as_moments(column: Any) -> list[str]:
    """A column of dates and times as ISO 8601, in UTC if it has a time zone, to the microsecond."""
    import pandas as pd

    moments = pd.to_datetime(column)
    if moments.dt.tz is not None:
        moments = moments.dt.tz_convert("UTC").dt.tz_localize(None)
    return [moment.isoformat() for moment in moments.dt.floor("us")]


def _are_whole(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int) for value in values)
