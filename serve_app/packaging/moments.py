"""Columns of strings that are dates and times: CSV does not say which columns were datetimes."""

import datetime as dt
from typing import Any

from serve_app.errors import excerpt
from serve_app.model.values import parse_datetime
from serve_app.packaging.corrections import Corrections
from serve_app.packaging.tables import PackagingError

MOMENTS = frozenset(("datetime64", "datetime", "date", "empty"))
"""What pandas calls the values of a column that needs no parsing."""


def with_declared_moments(frame: Any, corrections: Corrections) -> Any:
    """A DataFrame whose columns that a user calls datetimes are datetimes.

    Raises:
        PackagingError: a value is not ISO 8601, or has another time zone than UTC.
    """
    from pandas.api import types

    declared = {
        name: _moments_of(name, frame[name])
        for name, fields in corrections.items()
        if fields.get("kind") == "datetime"
        and name in frame.columns
        and types.infer_dtype(frame[name], skipna=True) not in MOMENTS
    }
    return frame.assign(**declared) if declared else frame


def with_likely_moments(frame: Any) -> Any | None:
    """A DataFrame whose columns of ISO 8601 strings are datetimes; None if it has none.

    Raises:
        PackagingError: a value has another time zone than UTC.
    """
    strings = frame.select_dtypes(["object", "string"])
    likely = {
        name: _moments_of(name, strings[name]) for name in strings if _is_likely(strings[name])
    }
    return frame.assign(**likely) if likely else None


def _is_likely(column: Any) -> bool:
    present = column.dropna()
    return len(present) > 0 and all(_is_moment(value) for value in present.unique())


def _is_moment(value: Any) -> bool:
    try:
        parse_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _moments_of(name: str, column: Any) -> Any:
    import pandas as pd

    first = column.dropna().drop_duplicates()
    for row, value in first.items():
        if not _is_moment(value):
            raise PackagingError(
                f"column {name!r}, row {row + 1}: {excerpt(str(value))!r} is no ISO 8601 date or "
                "time; write such as 2026-01-31T12:00:00, or give the data as Parquet, which "
                "keeps datetimes"
            )
    offsets = [dt.datetime.fromisoformat(value).utcoffset() for value in first]
    for (row, value), offset in zip(first.items(), offsets, strict=True):
        # The difference to UTC does not say which time zone it was, and a step may read its hour.
        if offset or offset != offsets[0]:
            raise PackagingError(
                f"column {name!r}, row {row + 1}: {excerpt(str(value))!r} has a time zone that is "
                "not UTC, or not that of the first row; give the data as Parquet, which keeps time "
                "zones"
            )
    try:
        return pd.to_datetime(column, format="ISO8601")
    except (TypeError, ValueError) as error:
        raise PackagingError(
            f"column {name!r} has dates or times that pandas does not read: "
            f"{excerpt(str(error))}; write ISO 8601 such as 2026-01-31T12:00:00, or give Parquet"
        ) from error
