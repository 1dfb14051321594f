"""Columns and rows of a model: from a DataFrame, an array, a CSV file or the command line."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from serve_app.errors import UserError, first_error
from serve_app.model.features import Feature
from serve_app.model.predictor import Rows


class PackagingError(UserError):
    """An estimator or data that cannot be packaged: names the value and the fix."""


def features_of(training_data: Any) -> tuple[Feature, ...]:
    """Features of a DataFrame: its column names and the range of each column.

    Raises:
        PackagingError: no column names, no rows, or values that are not finite numbers.
    """
    if training_data is None:
        raise PackagingError("give features, or training_data to take them from")
    rows = as_rows(training_data)
    columns = getattr(training_data, "columns", None)
    if columns is None:
        raise PackagingError("training_data has no column names; give features, or a DataFrame")
    try:
        return tuple(
            Feature(name=str(column), minimum=float(low), maximum=float(high))
            for column, low, high in zip(columns, rows.min(axis=0), rows.max(axis=0), strict=True)
        )
    except ValidationError as error:
        raise PackagingError(first_error(error)) from error


def parse_feature(text: str) -> Feature:
    """Parse ``NAME=MIN..MAX[:UNIT]``, such as ``sepal_length=4.3..7.9:cm``.

    Raises:
        PackagingError: the text is not of that form.
    """
    name, _, rest = text.partition("=")
    interval, _, unit = rest.partition(":")
    low, _, high = interval.partition("..")
    try:
        return Feature(name=name, minimum=float(low), maximum=float(high), unit=unit or None)
    except ValidationError as error:
        raise PackagingError(first_error(error)) from error
    except ValueError as error:
        raise PackagingError(
            f"feature {text!r} is not NAME=MIN..MAX[:UNIT], such as sepal_length=4.3..7.9:cm"
        ) from error


class _Table:
    """Rows with column names, as far as packaging needs a DataFrame."""

    def __init__(self, columns: Sequence[str], rows: Rows) -> None:
        self.columns = columns
        self._rows = rows

    def to_numpy(self) -> Rows:
        return self._rows


def read_csv(path: Path) -> _Table:
    """Read a CSV file of numbers with a header line.

    Raises:
        PackagingError: unreadable, no header, a row of another length, or a cell that is not a
            number.
    """
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            return _table(list(csv.reader(lines)))
    except (OSError, ValueError, csv.Error) as error:
        raise PackagingError(f"{path}: cannot read a table of numbers: {error}") from error


def _table(records: Sequence[Sequence[str]]) -> _Table:
    if len(records) < 2:  # noqa: PLR2004
        raise ValueError("no rows below a header")
    header, *rows = records
    if all(map(_is_number, header)):
        raise ValueError(
            f"the first row, {', '.join(header)}, holds numbers; put the columns' names above it"
        )
    for position, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ValueError(
                f"row {position} has {len(row)} cells, the header has {len(header)}; give each "
                "column a name and each row a number for it"
            )
    return _Table(header, np.array([[float(cell) for cell in row] for row in rows]))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def as_rows(training_data: Any) -> Rows:
    """Values of a DataFrame or an array, shape [rows, features].

    Raises:
        PackagingError: not numeric, not two-dimensional, empty, or not finite.
    """
    values = training_data.to_numpy() if hasattr(training_data, "to_numpy") else training_data
    try:
        rows = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PackagingError(f"training_data must be numeric: {error}") from error
    if rows.ndim != 2 or len(rows) == 0:  # noqa: PLR2004
        raise PackagingError(
            f"training_data must have shape [rows, features], at least one row; found {rows.shape}"
        )
    if not np.isfinite(rows).all():
        raise PackagingError(
            f"training_data has {int((~np.isfinite(rows)).sum())} missing or infinite values; "
            "requests with such values are rejected, so fit and package without them"
        )
    return rows
