"""How much of a model rows cover, and whether that is enough for a proof."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from serve_app.model.card import Coverage
from serve_app.model.features import Feature
from serve_app.model.prediction import Prediction

MINIMUM_ROWS = 1_000
"""Distinct rows below which nothing is proved, unless there are no more different requests."""
MINIMUM_VARYING = 0.5
"""Share of the columns that must have more than one value in the data that describes the model."""


def gap(
    coverage: Coverage, features: Sequence[Feature], rows: Any | None, expected: Prediction
) -> str | None:
    """Why a comparison proves too little, or None.

    Args:
        coverage: of the rows that are compared.
        features: the columns.
        rows: training rows; None if there are none.
        expected: what the estimator answers to the rows that are compared.
    """
    shown = varying(rows) if rows is not None else _declared_varying(features)
    # Not all of few different requests: some may be refused.
    least = min(MINIMUM_ROWS, math.ceil(_different_requests(features) / 2))
    answers = {repr(answer) for answer in zip(*filter(None, expected), strict=True)}
    if shown < MINIMUM_VARYING:
        problem = (
            f"only {round(shown * len(features))} of {len(features)} columns vary in the data that "
            "describes the model; give the training rows"
        )
    elif coverage.distinct_rows < least:
        problem = f"only {coverage.distinct_rows:,} different rows could be compared of {least:,}"
    elif len(answers) < 2:  # noqa: PLR2004
        problem = "the estimator gives one answer to all rows"
    else:
        return None
    return f"too little to prove that a compiled form is equal: {problem}"


def _different_requests(features: Sequence[Feature]) -> int:
    """Requests that differ within what training shows; at most many."""
    total = 1
    for feature in features:
        if feature.kind == "category":
            total *= len(feature.values)
        elif feature.kind == "boolean":
            total *= 2
        elif feature.kind == "integer":
            total *= round((feature.maximum or 0) - (feature.minimum or 0)) + 1
        else:
            return MINIMUM_ROWS * 2
    return total


def _declared_varying(features: Sequence[Feature]) -> float:
    vary = [
        feature.minimum != feature.maximum
        if feature.kind in ("number", "integer")
        else feature.kind != "category" or len(feature.values) > 1
        for feature in features
    ]
    return sum(vary) / len(vary)


def varying(rows: Any) -> float:
    """Share of the columns with more than one value."""
    if not len(rows):
        return 0.0
    if rows.dtype == np.float64:
        first = rows[0]
        same = (rows == first) | (np.isnan(rows) & np.isnan(first))
        return float((~same.all(axis=0)).mean())
    return float(np.mean([len(set(map(repr, column))) > 1 for column in rows.T]))


def distinct(rows: Any) -> int:
    """Number of different rows."""
    if rows.dtype == np.float64:
        return len({row.tobytes() for row in rows})
    return len({tuple(row) for row in rows})
