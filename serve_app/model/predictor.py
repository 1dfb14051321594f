"""Rows in, predictions out: what every engine does. Knows nothing of HTTP or Ray."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serve_app.model.card import Engine
from serve_app.model.features import Feature
from serve_app.model.prediction import NotFiniteError, Prediction
from serve_app.model.task import Label

Rows = NDArray[Any]
"""Feature values, shape [rows, features], in the order of the card.

``float64`` if every feature `Feature.is_numeric`: NaN is a missing value, booleans are 0 and 1.
Else ``object``: str, float, int, bool, and None for a missing value; datetimes are strings as
`parse_datetime` returns them."""


class Predictor(Protocol):
    """A loaded model."""

    engine: Engine

    def predict(self, rows: Rows) -> Prediction:
        """Predict ``rows``: valid values, shape [rows, features], at least one row.

        Raises:
            NotFiniteError: the model overflows on a row.
            ValueError: the estimator refuses a value.
        """
        ...


def rows_dtype(features: Iterable[Feature]) -> Any:
    """Type of the rows of ``features``, see `Rows`."""
    return np.float64 if all(feature.is_numeric for feature in features) else object


def rows_of(features: Sequence[Feature], records: Sequence[Sequence[Any]]) -> Rows:
    """Rows of valid JSON values: of each record one value for each feature, None where missing."""
    return np.array(records, dtype=rows_dtype(features)).reshape(len(records), len(features))


def is_missing(values: Any) -> Any:
    """Mask of the missing values in rows of type ``object``."""
    nothing: Any = None
    return np.equal(values, nothing)


def most_probable(probabilities: Any, classes: Sequence[Label]) -> Prediction:
    """Prediction whose labels are the most probable classes; the first of equals, as argmax."""
    rows = finite(probabilities)
    if len(rows) == 1:
        row = rows[0]
        return Prediction([classes[row.index(max(row))]], rows)
    return Prediction([classes[index] for index in probabilities.argmax(axis=1).tolist()], rows)


def finite(numbers: Any) -> list[Any]:
    """An array whose first dimension is the rows, as lists.

    Raises:
        NotFiniteError: a value is NaN or infinite.
    """
    rows: list[Any] = numbers.tolist()
    # For one row Python is faster.
    is_one = len(rows) == 1 and numbers.ndim == 2  # noqa: PLR2004
    total = sum(rows[0]) if is_one else float(numbers.sum())
    # A sum of finite numbers can overflow too.
    if not math.isfinite(total):
        bad = ~np.isfinite(numbers).reshape(len(rows), -1).all(axis=1)
        if bad.any():
            raise NotFiniteError(int(np.flatnonzero(bad)[0]))
    return rows
