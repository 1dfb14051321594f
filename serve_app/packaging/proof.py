"""The proof that two forms of a model agree: where they are compared, how, and how much it covers.

Rows are training rows, mixtures of them, rows with one value changed, rows at the thresholds of
trees, and pairs of rows on both sides of a decision boundary, where single and double precision
part first. All of them are within the domain of the estimator: rows that it refuses are left out.
"""

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.model.card import Agreement, Coverage, Precision
from serve_app.model.features import Feature
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Predictor
from serve_app.model.tasks import Regression, Task
from serve_app.packaging.domain import Ask, Trial, answered, joined, try_all
from serve_app.packaging.sampling import Sampler

TRAINING_ROWS = 10_000
MIXED_ROWS = 5_000
"""Rows of each of the two kinds of mixtures."""
CHANGED_ROWS = 2_000
"""Rows with one value changed, of all columns together; at least one for each change."""
THRESHOLDS = 2_000
"""Tree thresholds that are probed; if there are more, evenly spread over all."""
BOUNDARY_PAIRS = 500
BOUNDARY_WIDTH = 1e-6
"""Distance of the two rows of a boundary pair, as a share of the way between two real rows."""
SINGLE_ROWS = 500
"""Rows, evenly from all sets, that are also compared alone: one row may take another path."""

REFERENCE_SECONDS = 15.0
"""Time for the estimator's answers; a slow estimator is compared on fewer rows."""
BOUNDARY_SECONDS = 5.0
COMPARE_SECONDS = 10.0
"""Time for the answers of one compiled form."""
LEAST_ROWS = 200
"""Rows of each set that even the slowest estimator is asked for."""

MINIMUM_ROWS = 1_000
"""Distinct rows below which nothing is proved, unless there are no more different requests."""
MINIMUM_VARYING = 0.5
"""Share of the columns that must have more than one value in the data that describes the model."""


class ProofError(Exception):
    """A compiled form that cannot be compared."""


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
    probed, at_thresholds = _thresholds(sampler, thresholds)
    sets["thresholds"] = at_thresholds
    asked = _ask_within_time(ask, sets)
    pairs = _boundary_rows(ask, sampler, task, asked)
    parts = [each for each in (*asked.values(), pairs) if len(each.rows)]
    found = np.concatenate([part.rows for part in parts]) if parts else sampler.pool[:0]
    coverage = Coverage(
        training_rows=len(asked["training"].rows) if rows is not None else 0,
        distinct_rows=_distinct(found),
        varying_features=_varying(found),
        thresholds_probed=probed if len(asked["thresholds"].rows) else 0,
        thresholds=sum(map(len, thresholds.values())),
        boundary_pairs=len(pairs.rows) // 2,
    )
    expected = joined([part.prediction for part in parts])
    return Evidence(
        rows=found,
        expected=expected,
        coverage=coverage,
        gap=_gap(coverage, features, rows, expected),
        refused=sum(part.refused for part in asked.values()),
    )


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
    started = time.monotonic()

    def check(positions: Sequence[int], found: Prediction) -> None:
        nonlocal largest
        wanted = _at(expected, positions)
        comparison = task.compare(found, wanted, tolerances)
        disagreements.update(positions[at] for at in comparison.disagreements)
        largest = max(largest, comparison.largest_difference)

    for start, end in _chunks(len(rows)):
        check(range(start, end), compiled.predict(rows[start:end]))
        elapsed = time.monotonic() - started
        if elapsed > seconds:
            raise ProofError(
                f"too slow to be compared: {elapsed:.0f} s for {end:,} of {len(rows):,} rows"
            )
    alone = np.linspace(0, len(rows) - 1, min(SINGLE_ROWS, len(rows)), dtype=int).tolist()
    for row in alone:
        check([row], compiled.predict(rows[row : row + 1]))
        if time.monotonic() - started > 2 * seconds:
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
    started = time.monotonic()
    found = answered(ask, first)
    seconds_a_row = (time.monotonic() - started) / max(1, len(first))
    total = sum(map(len, sets.values()))
    share = min(1.0, REFERENCE_SECONDS / max(1e-9, seconds_a_row * total))
    del found
    deadline = time.monotonic() + 2 * REFERENCE_SECONDS
    return {
        name: answered(ask, _share_of(rows, share), deadline=deadline)
        for name, rows in sets.items()
    }


def _share_of(rows: Any, share: float) -> Any:
    count = min(len(rows), max(LEAST_ROWS, round(share * len(rows))))
    return rows if count == len(rows) else rows[np.linspace(0, len(rows) - 1, count, dtype=int)]


def _boundary_rows(ask: Ask, sampler: Sampler, task: Task, asked: Mapping[str, Any]) -> Any:
    """Bisect between rows of different answers until both ends almost touch the boundary."""
    known = asked["training"] if len(asked["training"].rows) else asked["mixed"]
    rows, values = known.rows, _keys(known.prediction)
    nothing = answered(ask, rows[:0])
    if isinstance(task, Regression) or not sampler.can_blend:
        return nothing
    order = np.random.default_rng(0).permutation(len(rows))
    half = len(rows) // 2
    crossing = [
        (one, other)
        for one, other in zip(order[:half], order[half : 2 * half], strict=True)
        if values[one] != values[other]
    ][:BOUNDARY_PAIRS]
    if not crossing:
        return nothing
    left = rows[[one for one, _ in crossing]]
    right = sampler.with_numbers(left, sampler.between(left, rows[[at for _, at in crossing]], 1.0))
    try:
        return answered(ask, _bisected(ask, sampler, left, right))
    except Exception:  # a row between two real rows that the estimator refuses
        return nothing


def _bisected(ask: Ask, sampler: Sampler, left: Any, right: Any) -> Any:
    deadline = time.monotonic() + BOUNDARY_SECONDS
    ends = _keys(ask(left)), _keys(ask(right))
    # Some pairs differ because of columns that stay as they are.
    crossing = ends[0] != ends[1]
    left, right, values = left[crossing], right[crossing], ends[0][crossing]
    for _ in range(math.ceil(math.log2(1 / BOUNDARY_WIDTH))):
        if not len(left):
            break
        started = time.monotonic()
        middle = sampler.with_numbers(left, sampler.between(left, right, 0.5))
        same = (_keys(ask(middle)) == values)[:, np.newaxis]
        left, right = np.where(same, middle, left), np.where(same, right, middle)
        # A pair that is not bisected to the end shows little: fewer pairs instead.
        if 20 * (time.monotonic() - started) > deadline - time.monotonic():
            keep = max(1, len(left) // 2)
            left, right, values = left[:keep], right[:keep], values[:keep]
    return np.concatenate([left, right])


def _keys(prediction: Prediction) -> Any:
    """The values of a prediction as strings, which compare whatever the task."""
    return np.array([*map(repr, prediction.values), ""])[:-1]


def _gap(
    coverage: Coverage, features: Sequence[Feature], rows: Any | None, expected: Prediction
) -> str | None:
    """Why a comparison proves too little, or None."""
    shown = _varying(rows) if rows is not None else _declared_varying(features)
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


def _varying(rows: Any) -> float:
    """Share of the columns with more than one value."""
    if not len(rows):
        return 0.0
    if rows.dtype == np.float64:
        first = rows[0]
        same = (rows == first) | (np.isnan(rows) & np.isnan(first))
        return float((~same.all(axis=0)).mean())
    return float(np.mean([len(set(map(repr, column))) > 1 for column in rows.T]))


def _distinct(rows: Any) -> int:
    if rows.dtype == np.float64:
        return len({row.tobytes() for row in rows})
    return len({tuple(row) for row in rows})


def _at(prediction: Prediction, positions: Sequence[int]) -> Prediction:
    values = [prediction.values[position] for position in positions]
    if prediction.scores is None:
        return Prediction(values)
    return Prediction(values, [prediction.scores[position] for position in positions])


def _chunks(rows: int) -> list[tuple[int, int]]:
    """Ranges of rows, first a short one that shows how long they take."""
    return [*itertools.pairwise([0, *range(min(100, rows), rows, 1_000), rows])]
