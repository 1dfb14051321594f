"""Which columns may be missing or hold unseen categories: where the estimator answers that."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from serve_app.model.features import Feature
from serve_app.model.predictor import Predictor, is_missing
from serve_app.packaging.corrections import Corrections
from serve_app.packaging.domain import (
    NOT_TRIED,
    PROBE_SECONDS,
    Outcome,
    Trial,
    answered,
    try_all,
)
from serve_app.packaging.sampling import Sampler
from serve_app.packaging.tables import PackagingError

Load = Callable[[Sequence[Feature]], Predictor]
"""The estimator as a predictor over given features."""


def features_within_domain(
    load: Load,
    draft: Sequence[Feature],
    rows: Any,
    corrections: Corrections,
    *,
    in_frames: bool,
) -> tuple[Feature, ...]:
    """Features that say what the estimator answers; a user may forbid what it does, not allow more.

    Args:
        load: makes a predictor.
        draft: the columns; nullable are those with missing values in the data.
        rows: real rows, shape [rows, features].
        corrections: what a user says.
        in_frames: the estimator takes DataFrames, so the data types of columns count.

    Raises:
        PackagingError: a user allows what the estimator refuses.
    """
    real = answered(load(draft).predict, rows).rows
    if not len(real):
        real = rows
    missing = _missing(load, draft, real, in_frames=in_frames)
    unseen = _unseen(load, draft, real)
    features = []
    for position, feature in enumerate(draft):
        said = corrections.get(feature.name, {})
        changes = {
            field: _settled(feature, field, outcome, said.get(field))
            for field, outcome in (
                ("nullable", missing[position]),
                ("unseen_allowed", unseen.get(position, Outcome(answered=True))),
            )
        }
        settled = feature.model_copy(update=changes)
        features.append(loosened(settled) if in_frames and settled.nullable else settled)
    return tuple(_still_alike(load, draft, features, real))


def loosened(feature: Feature) -> Feature:
    """A column whose values may be missing; integers and booleans of NumPy cannot be."""
    dtype = None if _is_tight(feature) else feature.dtype
    return feature.model_copy(update={"nullable": True, "dtype": dtype})


def _is_tight(feature: Feature) -> bool:
    return feature.dtype is not None and feature.dtype.startswith(("int", "uint", "bool"))


def _missing(load: Load, draft: Sequence[Feature], rows: Any, *, in_frames: bool) -> list[Outcome]:
    trials = Sampler(draft, rows).missing()
    tight = {trial.column for trial in trials if in_frames and _is_tight(draft[trial.column])}
    outcomes: dict[int, Outcome] = {}
    deadline = time.process_time() + PROBE_SECONDS

    def ask(group: Sequence[Trial]) -> None:
        columns = {trial.column for trial in group}
        loose = [loosened(each) if at in columns else each for at, each in enumerate(draft)]
        found = try_all(load(loose).predict, rows, group)
        outcomes.update(zip((trial.column for trial in group), found, strict=True))

    if len(tight) < len(trials):
        ask([trial for trial in trials if trial.column not in tight])
    for trial in trials:
        # One at a time: its data type changes with it, and the estimator may refuse that.
        if trial.column in tight and time.process_time() < deadline:
            ask([trial])
    return [outcomes.get(position, NOT_TRIED) for position in range(len(draft))]


def _unseen(load: Load, draft: Sequence[Feature], rows: Any) -> dict[int, Outcome]:
    trials = Sampler(draft, rows).unseen()
    found = try_all(load(draft).predict, rows, trials) if trials else []
    return dict(zip((trial.column for trial in trials), found, strict=True))


def _settled(feature: Feature, field: str, outcome: Outcome, said: object) -> bool:
    if said and not outcome.answered:
        raise PackagingError(
            f"column {feature.name!r}: {field} is set, but the estimator refuses such a value "
            f"({outcome.error}); leave it out"
        )
    return outcome.answered if said is None else bool(said)


def _still_alike(
    load: Load, draft: Sequence[Feature], features: Sequence[Feature], rows: Any
) -> Sequence[Feature]:
    """Columns whose data type changes only if the estimator does not mind."""
    if all(one.dtype == other.dtype for one, other in zip(draft, features, strict=True)):
        return features
    expected = load(draft).predict(rows)
    try:
        if load(features).predict(rows) == expected:
            return features
    except Exception:  # noqa: S110 - it minds
        pass
    return [
        one.model_copy(update={"unseen_allowed": other.unseen_allowed})
        if one.dtype != other.dtype
        else other
        for one, other in zip(draft, features, strict=True)
    ]


def without_missing(rows: Any, features: Sequence[Feature]) -> Any:
    """Which rows have no missing value where there must be one."""
    required = [at for at, feature in enumerate(features) if not feature.nullable]
    values = rows[:, required]
    missing = np.isnan(values) if values.dtype == np.float64 else is_missing(values)
    return ~missing.astype(bool).any(axis=1)
