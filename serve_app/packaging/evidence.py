"""Rows on which a compiled form is compared with the estimator, and the estimator's answers.

Rows are training rows, mixtures of them, rows with one value changed, rows at the thresholds of
trees and beside numbers of the training data, and pairs of rows on both sides of a decision
boundary. All of them are within the domain of the estimator: rows that it refuses are left out.

Time is that of the processor: a machine that is busy with other work does not change what is asked.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.model.card import Coverage
from serve_app.model.features import Feature
from serve_app.model.prediction import Prediction
from serve_app.model.tasks import Regression, Task
from serve_app.packaging.boundary import boundary_rows
from serve_app.packaging.coverage import distinct, gap, varying
from serve_app.packaging.domain import Ask, Trial, answered, joined, try_all
from serve_app.packaging.sampling import Sampler

TRAINING_ROWS = 10_000
MIXED_ROWS = 5_000
"""Rows of each of the two kinds of mixtures."""
CHANGED_ROWS = 2_000
"""Rows with one value changed, of all columns together; at least one for each change."""
THRESHOLDS = 2_000
"""Tree thresholds that are probed; if there are more, evenly spread over all."""
SEEN_NUMBERS = 300
"""Numbers of the training data that are probed like thresholds, of all columns together: a step may
part at one of them, or at zero."""

REFERENCE_SECONDS = 15.0
"""Processor time for the estimator's answers; a slow estimator is compared on fewer rows."""
LEAST_ROWS = 200
"""Rows of each set that even the slowest estimator is asked for."""


@dataclass(frozen=True)
class Evidence:
    """Rows, what the estimator answers to them, and how much of the model they cover."""

    rows: Any
    """Shape [rows, features], as `serve_app.model.predictor.Rows`."""
    expected: Prediction
    coverage: Coverage = field(default_factory=Coverage)
    gap: str | None = None
    """Why the comparison of these rows proves nothing; None if it does."""
    refused: int = 0
    """Rows that the estimator refused, and that are left out."""


def gather(
    ask: Ask,
    features: Sequence[Feature],
    task: Task,
    rows: Any | None,
    *,
    thresholds: Mapping[int, NDArray[np.float64]] | None = None,
) -> Evidence:
    """Make rows and ask the estimator for them.

    Args:
        ask: what the estimator answers; raises where it has no answer.
        features: the columns, with what the estimator is known to answer: missing values, unseen
            categories.
        task: what is predicted.
        rows: training rows, shape [rows, features]; None if there are none.
        thresholds: for positions of columns, the values at which trees part.
    """
    sampler = Sampler(features, rows)
    # Other columns have few values, which are all compared.
    thresholds = {
        column: values
        for column, values in (thresholds or {}).items()
        if features[column].kind in ("number", "integer")
    }
    sets = _sets(ask, sampler, has_training=rows is not None)
    probed, sets["thresholds"] = _thresholds(sampler, thresholds)
    sets["beside"] = sampler.at_thresholds(sampler.seen_numbers(SEEN_NUMBERS))
    asked = _ask_within_time(ask, sets)
    pairs = answered(ask, sampler.pool[:0])
    if not isinstance(task, Regression):
        known = asked["training"] if len(asked["training"].rows) else asked["mixed"]
        pairs = boundary_rows(ask, sampler, known)
    parts = [each for each in (*asked.values(), pairs) if len(each.rows)]
    found = np.concatenate([part.rows for part in parts]) if parts else sampler.pool[:0]
    coverage = Coverage(
        training_rows=len(asked["training"].rows) if rows is not None else 0,
        distinct_rows=distinct(found),
        varying_features=varying(found),
        thresholds_probed=probed if len(asked["thresholds"].rows) else 0,
        thresholds=sum(map(len, thresholds.values())),
        boundary_pairs=len(pairs.rows) // 2,
    )
    expected = joined([part.prediction for part in parts])
    return Evidence(
        rows=found,
        expected=expected,
        coverage=coverage,
        gap=gap(coverage, features, rows, expected),
        refused=sum(part.refused for part in asked.values()),
    )


def _sets(ask: Ask, sampler: Sampler, *, has_training: bool) -> dict[str, Any]:
    """Rows by the way in which they are made."""
    pool = sampler.pool
    evenly = np.linspace(0, len(pool) - 1, min(TRAINING_ROWS, len(pool)), dtype=int)
    trials = _within_domain(ask, sampler)
    each = max(1, CHANGED_ROWS // max(1, len(trials)))
    return {
        "training": pool[evenly] if has_training else pool[:0],
        "mixed": sampler.mixed(MIXED_ROWS),
        "blended": sampler.blended(MIXED_ROWS),
        "changed": sampler.changed(trials, each) if trials else pool[:0],
    }


def _within_domain(ask: Ask, sampler: Sampler) -> list[Trial]:
    """Changes of one value that the estimator answers."""
    allowed = [trial for trial in sampler.missing() if sampler.features[trial.column].nullable]
    allowed += [
        trial for trial in sampler.unseen() if sampler.features[trial.column].unseen_allowed
    ]
    asked = [*sampler.outside(), *sampler.odd(), *sampler.rare()]
    outcomes = try_all(ask, sampler.pool, asked)
    return allowed + [
        trial for trial, outcome in zip(asked, outcomes, strict=True) if outcome.answered
    ]


def _thresholds(sampler: Sampler, thresholds: Mapping[int, NDArray[np.float64]]) -> tuple[int, Any]:
    total = sum(map(len, thresholds.values()))
    if not total:
        return 0, sampler.pool[:0]
    step = max(1, math.ceil(total / THRESHOLDS))
    chosen = {column: np.sort(values)[::step] for column, values in thresholds.items()}
    return sum(map(len, chosen.values())), sampler.at_thresholds(chosen)


def _ask_within_time(ask: Ask, sets: Mapping[str, Any]) -> dict[str, Any]:
    """Answers to all sets; a slow estimator is asked for a share of each."""
    first = np.concatenate([rows[:LEAST_ROWS] for rows in sets.values() if len(rows)])
    started = time.process_time()
    found = answered(ask, first)
    seconds_a_row = (time.process_time() - started) / max(1, len(first))
    total = sum(map(len, sets.values()))
    share = min(1.0, REFERENCE_SECONDS / max(1e-9, seconds_a_row * total))
    del found
    deadline = time.process_time() + 2 * REFERENCE_SECONDS
    return {
        name: answered(ask, _share_of(rows, share), deadline=deadline)
        for name, rows in sets.items()
    }


def _share_of(rows: Any, share: float) -> Any:
    count = min(len(rows), max(LEAST_ROWS, round(share * len(rows))))
    return rows if count == len(rows) else rows[np.linspace(0, len(rows) - 1, count, dtype=int)]
