"""Pairs of rows on both sides of a decision boundary, where single and double precision part."""

import math
import time
from typing import Any

import numpy as np

from serve_app.model.prediction import Prediction
from serve_app.packaging.domain import Answered, Ask, answered
from serve_app.packaging.sampling import Sampler

PAIRS = 500
WIDTH = 1e-6
"""Distance of the two rows of a pair, as a share of the way between two real rows."""
SECONDS = 5.0
"""Processor time for the search."""


def boundary_rows(ask: Ask, sampler: Sampler, known: Answered) -> Answered:
    """Bisect between rows of different answers until both ends almost touch the boundary.

    Args:
        ask: what the estimator answers.
        sampler: knows the columns.
        known: rows with their answers; those of a regression have no boundary to look for.

    Returns:
        Pairs of rows one after another: all left ends, then all right ends.
    """
    rows, values = known.rows, _keys(known.prediction)
    nothing = answered(ask, rows[:0])
    if not sampler.can_blend:
        return nothing
    order = np.random.default_rng(0).permutation(len(rows))
    half = len(rows) // 2
    crossing = [
        (one, other)
        for one, other in zip(order[:half], order[half : 2 * half], strict=True)
        if values[one] != values[other]
    ][:PAIRS]
    if not crossing:
        return nothing
    left = rows[[one for one, _ in crossing]]
    right = sampler.with_numbers(left, sampler.between(left, rows[[at for _, at in crossing]], 1.0))
    try:
        return answered(ask, _bisected(ask, sampler, left, right))
    except Exception:  # a row between two real rows that the estimator refuses
        return nothing


def _bisected(ask: Ask, sampler: Sampler, left: Any, right: Any) -> Any:
    deadline = time.process_time() + SECONDS
    ends = _keys(ask(left)), _keys(ask(right))
    # Some pairs differ because of columns that stay as they are.
    crossing = ends[0] != ends[1]
    left, right, values = left[crossing], right[crossing], ends[0][crossing]
    for _ in range(math.ceil(math.log2(1 / WIDTH))):
        if not len(left):
            break
        started = time.process_time()
        middle = sampler.with_numbers(left, sampler.between(left, right, 0.5))
        same = (_keys(ask(middle)) == values)[:, np.newaxis]
        left, right = np.where(same, middle, left), np.where(same, right, middle)
        # A pair that is not bisected to the end shows little: fewer pairs instead.
        if 20 * (time.process_time() - started) > deadline - time.process_time():
            keep = max(1, len(left) // 2)
            left, right, values = left[:keep], right[:keep], values[:keep]
    return np.concatenate([left, right])


def _keys(prediction: Prediction) -> Any:
    """The values of a prediction as strings, which compare whatever the task."""
    return np.array([*map(repr, prediction.values), ""])[:-1]
