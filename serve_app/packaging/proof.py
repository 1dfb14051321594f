"""The proof that two forms of a model agree: every answer to every row of the evidence."""

import itertools
import math
import time
from collections.abc import Sequence

import numpy as np

from serve_app.model.card import Agreement, Precision
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Predictor
from serve_app.model.tasks import Task
from serve_app.packaging.evidence import Evidence

SINGLE_ROWS = 500
"""Rows, evenly from all sets, that are also compared alone: one row may take another path."""
COMPARE_SECONDS = 10.0
"""Processor time for the answers of the compiled form, which another process does not use up."""


class ProofError(Exception):
    """A compiled form that cannot be compared."""


def compare(
    compiled: Predictor,
    evidence: Evidence,
    task: Task,
    precision: Precision,
    *,
    seconds: float = COMPARE_SECONDS,
) -> Agreement:
    """Compare the answers of ``compiled`` with those of the estimator.

    Rows are predicted together, and `SINGLE_ROWS` of them also one by one.

    Raises:
        ProofError: the compiled form is too slow to be compared.
    """
    tolerances = task.tolerances(evidence.expected)
    rows, expected = evidence.rows, evidence.expected
    disagreements: set[int] = set()
    largest = 0.0
    started = time.process_time()

    def check(positions: Sequence[int], found: Prediction) -> None:
        nonlocal largest
        wanted = _at(expected, positions)
        comparison = task.compare(found, wanted, tolerances)
        disagreements.update(positions[at] for at in comparison.disagreements)
        largest = max(largest, comparison.largest_difference)

    for start, end in _chunks(len(rows)):
        check(range(start, end), compiled.predict(rows[start:end]))
        elapsed = time.process_time() - started
        if elapsed > seconds:
            raise ProofError(
                f"too slow to be compared: {elapsed:.0f} s for {end:,} of {len(rows):,} rows"
            )
    alone = np.linspace(0, len(rows) - 1, min(SINGLE_ROWS, len(rows)), dtype=int).tolist()
    for row in alone:
        check([row], compiled.predict(rows[row : row + 1]))
        if time.process_time() - started > 2 * seconds:
            raise ProofError("too slow to be compared one row at a time")
    if not math.isfinite(largest):
        raise ProofError(
            f"{len(disagreements):,} of {len(rows):,} answers differ: numbers are not finite, or "
            "there are more or fewer of them"
        )
    return Agreement(
        precision=precision,
        rows_compared=len(rows),
        disagreements=len(disagreements),
        largest_difference=largest,
        tolerance=tolerances.absolute,
        relative_tolerance=tolerances.relative,
        coverage=evidence.coverage,
    )


def _at(prediction: Prediction, positions: Sequence[int]) -> Prediction:
    values = [prediction.values[position] for position in positions]
    if prediction.scores is None:
        return Prediction(values)
    return Prediction(values, [prediction.scores[position] for position in positions])


def _chunks(rows: int) -> list[tuple[int, int]]:
    """Ranges of rows, first a short one that shows how long they take."""
    return [*itertools.pairwise([0, *range(min(100, rows), rows, 1_000), rows])]
