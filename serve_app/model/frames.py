"""Rows as a pandas DataFrame with the dtypes of training."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from serve_app.model.features import Feature, Kind
from serve_app.model.predictor import Rows, is_missing

DEFAULT_DTYPES: dict[Kind, str] = {
    "number": "float64",
    "integer": "int64",
    "boolean": "bool",
    "category": "object",
    "text": "object",
    "datetime": "datetime64[ns]",
}
NULLABLE_DTYPES: dict[Kind, str] = DEFAULT_DTYPES | {"integer": "float64", "boolean": "object"}
"""Dtypes that pandas gives to columns with gaps."""


class FrameBuilder:
    """Makes one DataFrame of all rows of a model call. Needs pandas."""

    def __init__(self, features: Sequence[Feature]) -> None:
        import pandas as pd

        self._frame = pd.DataFrame
        self._names = [feature.name for feature in features]
        dtypes = [_dtype_of(feature) for feature in features]
        # One block, which pandas takes without a copy.
        self._is_matrix = set(dtypes) == {"float64"}
        self._columns = [
            (feature.name, position, _column(pd, feature, dtype))
            for position, (feature, dtype) in enumerate(zip(features, dtypes, strict=True))
        ]

    def __call__(self, rows: Rows) -> Any:
        """The frame of ``rows``."""
        if self._is_matrix:
            return self._frame(rows.astype(np.float64, copy=False), columns=self._names, copy=False)
        columns = {name: convert(rows[:, position]) for name, position, convert in self._columns}
        return self._frame(columns, copy=False)


def _dtype_of(feature: Feature) -> str:
    if feature.dtype is not None:
        return feature.dtype
    return (NULLABLE_DTYPES if feature.nullable else DEFAULT_DTYPES)[feature.kind]


def _column(pd: Any, feature: Feature, dtype: str) -> Callable[[Any], Any]:
    """What makes a column of ``dtype`` from the values of ``feature``."""
    if dtype == "category":
        return _categorical(pd, feature)
    if dtype.startswith("datetime64"):
        return _datetimes(pd, dtype)
    if dtype == "object":
        return _objects(feature)
    if dtype == "bool" or dtype.startswith(("float", "int", "uint")):
        return _numbers(np.dtype(dtype))
    extension = pd.api.types.pandas_dtype(dtype)
    if feature.kind == "boolean":
        return lambda values: pd.array(_booleans(values), dtype=extension)
    return lambda values: pd.array(_present(values), dtype=extension)


def _numbers(dtype: np.dtype[Any]) -> Callable[[Any], Any]:
    if dtype.kind not in "iu":
        return lambda values: values.astype(dtype)

    def convert(values: Any) -> Any:
        whole = values.astype(dtype)
        # An unseen 2.5 must not become the known category 2.
        return whole if (whole == values).all() else values.astype(np.float64)

    return convert


def _categorical(pd: Any, feature: Feature) -> Callable[[Any], Any]:
    dtype = pd.CategoricalDtype(list(feature.values))
    codes = {value: code for code, value in enumerate(feature.values)}

    def convert(values: Any) -> Any:
        # Several times faster than to let pandas look for the values.
        found = np.fromiter((codes.get(value, -1) for value in values.tolist()), np.intp)
        return pd.Categorical.from_codes(found, dtype=dtype, validate=False)

    return convert


def _datetimes(pd: Any, dtype: str) -> Callable[[Any], Any]:
    extension = pd.api.types.pandas_dtype(dtype)

    def convert(values: Any) -> Any:
        texts = ["NaT" if value is None else value for value in values.tolist()]
        moments = np.array(texts, dtype="datetime64[ns]")
        if isinstance(extension, np.dtype):
            return moments.astype(extension)
        return pd.array(pd.DatetimeIndex(moments).tz_localize("UTC")).astype(extension)

    return convert


def _objects(feature: Feature) -> Callable[[Any], Any]:
    if feature.kind == "boolean":
        return lambda values: np.array(
            [np.nan if value is None else value for value in _booleans(values)], dtype=object
        )
    known = {value: value for value in feature.values}  # noqa: PD011
    if feature.is_numeric:
        # Float rows: the values as they were, such as the integer 1 instead of 1.0.
        return lambda values: np.array(
            [known.get(value, value) for value in values.tolist()], dtype=object
        )
    return lambda values: np.where(is_missing(values), np.nan, values)


def _booleans(values: Any) -> list[bool | None]:
    # Of float rows a missing value is NaN, which differs from itself.
    return [
        None if value is None or value != value else bool(value)  # noqa: PLR0124
        for value in values.tolist()
    ]


def _present(values: Any) -> list[Any]:
    return [
        None if value is None or value != value else value  # noqa: PLR0124
        for value in values.tolist()
    ]
