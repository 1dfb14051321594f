"""Rows as a pandas DataFrame with the dtypes of training."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from serve_app.model.features import Feature
from serve_app.model.predictor import Rows, is_missing

Convert = Callable[[Any], Any]
"""Makes a column of a DataFrame from one column of rows."""


class FrameBuilder:
    """Makes one DataFrame of all rows of a model call. Needs pandas."""

    def __init__(self, features: Sequence[Feature]) -> None:
        import pandas as pd

        self._frame = pd.DataFrame
        self._names = [feature.name for feature in features]
        # One block, which pandas takes without a copy.
        self._is_matrix = all(_dtype_of(feature) == "float64" for feature in features)
        self._columns = [
            (feature.name, position, _conversion(pd, feature))
            for position, feature in enumerate(features)
        ]

    def __call__(self, rows: Rows) -> Any:
        """The frame of ``rows``."""
        if self._is_matrix:
            return self._frame(rows.astype(np.float64, copy=False), columns=self._names, copy=False)
        columns = {name: convert(rows[:, position]) for name, position, convert in self._columns}
        return self._frame(columns, copy=False)


def _dtype_of(feature: Feature) -> str | None:
    """The dtype of training, else what pandas gives to such values; None lets it look at them."""
    if feature.dtype is not None and not (feature.nullable and _has_no_gaps(feature.dtype)):
        return feature.dtype
    if feature.kind == "datetime":
        return "datetime64[ns]"
    if not feature.is_numeric:
        return None
    kinds = {type(value) for value in feature.values}
    if feature.kind == "boolean" or kinds == {bool}:
        return "object" if feature.nullable else "bool"
    is_whole = feature.kind == "integer" or kinds == {int}
    return "int64" if is_whole and not feature.nullable else "float64"


def _has_no_gaps(dtype: str) -> bool:
    return dtype == "bool" or dtype.startswith(("int", "uint"))


def _conversion(pd: Any, feature: Feature) -> Convert:
    dtype = _dtype_of(feature)
    if dtype is None or dtype == "object":
        return _objects(pd, feature, is_inferred=dtype is None)
    if dtype == "category":
        return _categorical(pd, feature)
    if dtype.startswith("datetime64"):
        return _datetimes(pd, dtype)
    if dtype.startswith(("bool", "float", "int", "uint")) and dtype != "boolean":
        return _numbers(np.dtype(dtype))
    extension = pd.api.types.pandas_dtype(dtype)
    values_of = _python_values(feature, missing=None)
    return lambda column: pd.array(values_of(column), dtype=extension)


def _numbers(dtype: np.dtype[Any]) -> Convert:
    if dtype.kind not in "iu":
        return lambda column: column.astype(dtype)

    def convert(column: Any) -> Any:
        whole = column.astype(dtype)
        # An unseen 2.5 must not become the known category 2.
        return whole if (whole == column).all() else column.astype(np.float64)

    return convert


def _categorical(pd: Any, feature: Feature) -> Convert:
    dtype = pd.CategoricalDtype(list(feature.values))
    codes = {value: code for code, value in enumerate(feature.values)}

    def convert(column: Any) -> Any:
        # Several times faster than to let pandas look for the values.
        found = np.fromiter((codes.get(value, -1) for value in column.tolist()), np.intp)
        return pd.Categorical.from_codes(found, dtype=dtype, validate=False)

    return convert


def _datetimes(pd: Any, dtype: str) -> Convert:
    extension = pd.api.types.pandas_dtype(dtype)

    def convert(column: Any) -> Any:
        moments = np.where(is_missing(column), "NaT", column).astype("datetime64[ns]")
        if isinstance(extension, np.dtype):
            return moments.astype(extension)
        return pd.DatetimeIndex(moments).tz_localize("UTC").astype(extension)

    return convert


def _objects(pd: Any, feature: Feature, *, is_inferred: bool) -> Convert:
    missing = None if feature.missing_is_none else np.nan
    values_of = _python_values(feature, missing=missing)

    def convert(column: Any) -> Any:
        values: Any
        if feature.is_numeric:
            values = np.array(values_of(column), dtype=object)
        elif feature.nullable:
            values = np.where(is_missing(column), missing, column)
        else:
            values = column
        # Of an array alone, pandas 3 would make a column of strings.
        return values if is_inferred else pd.Index(values, dtype=object)

    return convert


def _python_values(feature: Feature, *, missing: Any) -> Callable[[Any], list[Any]]:
    """What makes a list of a column; float rows have 1.0 for true and for the known integer 1."""
    known: dict[Any, Any] = dict(zip(feature.values, feature.values, strict=True))
    if feature.kind == "boolean":
        known = {False: False, True: True}
    return lambda column: [
        missing if value is None or value != value else known.get(value, value)  # noqa: PLR0124
        for value in column.tolist()
    ]
