"""Which values an estimator answers, found out by asking it.

A missing value, an unseen category or a number outside of the training range is in the domain of an
estimator if it answers real rows with that value in them: without an error, with finite numbers.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from serve_app.errors import excerpt
from serve_app.model.features import Feature
from serve_app.model.prediction import Prediction
from serve_app.model.values import Value

Ask = Callable[[Any], Prediction]
"""Predicts rows, shape [rows, features]; raises where the estimator has no finite answer."""

PROBE_ROWS = 10
"""Real rows in which a value is tried."""
PROBE_SECONDS = 10.0
"""Processor time for all questions about single columns; one that was not asked about takes no
such value."""
MARGIN = 0.1
"""Share of a range by which rows outside of it are tried and compared."""
UNSEEN = ("unseen", "", "Ünseen 7")
"""Strings that are tried as unseen categories."""
CHUNK = 1_000
"""Rows asked for together."""


class Trial(NamedTuple):
    """One value in one column."""

    column: int
    value: Any


class Outcome(NamedTuple):
    """Whether the estimator answers a trial, and what it raised if not."""

    answered: bool
    error: str = ""


NOT_TRIED = Outcome(answered=False, error="there was no time to try it")


class Answered(NamedTuple):
    """Rows that have an answer, and it."""

    rows: Any
    prediction: Prediction
    refused: int
    """Rows that were refused."""
    error: str
    """What the estimator raised for one of them."""


def missing_value(rows: Any) -> Any:
    """What stands for a missing value in ``rows``."""
    return np.nan if rows.dtype == np.float64 else None


def unseen_value(feature: Feature) -> Value | None:
    """A value that a category has not, of the same type; None if there is none."""
    known = set(feature.values)
    if any(isinstance(value, str) for value in known):
        return next((value for value in UNSEEN if value not in known), None)
    numbers = [value for value in known if not isinstance(value, bool)]
    return max(numbers) + 1 if numbers else None  # type: ignore[operator]


def outside_values(feature: Feature) -> tuple[float, ...]:
    """A number below and one above the training range; for one value, one on each side of it."""
    if feature.minimum is None or feature.maximum is None:
        return ()
    width = feature.maximum - feature.minimum
    margin = MARGIN * width if width else max(abs(feature.minimum), 1.0)
    if feature.kind == "integer":
        margin = float(np.ceil(margin))
    return feature.minimum - margin, feature.maximum + margin


def try_all(ask: Ask, rows: Any, trials: Sequence[Trial]) -> list[Outcome]:
    """Ask for ``rows`` with each of the ``trials``; together as long as nothing is refused."""
    base = rows[np.linspace(0, len(rows) - 1, min(PROBE_ROWS, len(rows)), dtype=int)]
    deadline = time.process_time() + PROBE_SECONDS
    outcomes = [NOT_TRIED] * len(trials)

    def ask_about(positions: Sequence[int]) -> None:
        if not positions or time.process_time() > deadline:
            return
        changed = np.concatenate([base] * len(positions))
        for place, position in enumerate(positions):
            trial = trials[position]
            changed[place * len(base) : (place + 1) * len(base), trial.column] = trial.value
        try:
            ask(changed)
        except Exception as error:
            if len(positions) == 1:
                outcomes[positions[0]] = Outcome(answered=False, error=_said(error))
                return
            half = len(positions) // 2
            ask_about(positions[:half])
            ask_about(positions[half:])
        else:
            for position in positions:
                outcomes[position] = Outcome(answered=True)

    ask_about(range(len(trials)))
    return outcomes


def answered(
    ask: Ask, rows: Any, *, deadline: float = float("inf"), most_refused: int = 200
) -> Answered:
    """Ask for ``rows``, in chunks, and leave out those that are refused.

    Args:
        ask: answers rows.
        rows: shape [rows, features].
        deadline: of ``time.process_time``; rows after it are left out.
        most_refused: questions that may fail; after that, chunks with such a row are left out.
    """
    kept: list[Any] = []
    predictions: list[Prediction] = []
    refusals: list[str] = []
    refused = 0

    def ask_for(part: Any) -> None:
        nonlocal refused
        if not len(part) or time.process_time() > deadline:
            return
        try:
            predictions.append(ask(part))
        except Exception as error:
            refusals.append(_said(error))
            if len(part) > 1 and len(refusals) < most_refused:
                ask_for(part[: len(part) // 2])
                ask_for(part[len(part) // 2 :])
            else:
                refused += len(part)
        else:
            kept.append(part)

    for start in range(0, len(rows), CHUNK):
        ask_for(rows[start : start + CHUNK])
    remaining = np.concatenate(kept) if kept else rows[:0]
    return Answered(remaining, joined(predictions), refused, refusals[-1] if refusals else "")


def joined(predictions: Sequence[Prediction]) -> Prediction:
    """Predictions one after the other."""
    values = [value for prediction in predictions for value in prediction.values]
    if not predictions or any(prediction.scores is None for prediction in predictions):
        return Prediction(values)
    return Prediction(values, [score for each in predictions for score in each.scores or ()])


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {excerpt(str(error))}"
