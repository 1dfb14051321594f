"""What the fitted steps of an estimator say of its input columns.

Estimators hold others: pipelines, column transformers, searches, ensembles. They are walked from
the outside, with the columns that each of them takes, as far as these are input columns as they
are; what a step makes of them is not followed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Steps whose output has the columns of their input, each still holding the same values.
KEEPING = frozenset({"SimpleImputer", "KNNImputer", "IterativeImputer", "FrozenEstimator"})
MOST_PARTS = 20
"""Members of an ensemble that are looked at; a forest has hundreds that say nothing."""


@dataclass
class Facts:
    """What is known of one column."""

    is_category: bool = False
    categories: tuple[Any, ...] = ()
    """Known values, in the estimator's order; empty if it does not say."""
    is_text: bool = False
    is_coded: bool = False
    """The estimator was fitted on a categorical dtype and keeps codes of its values."""


def facts_of(estimator: Any, columns: Sequence[str]) -> dict[str, Facts]:
    """Facts of each column, by its name."""
    facts = {column: Facts() for column in columns}
    _walk(estimator, list(columns), facts)
    return facts


def parts_of(estimator: Any) -> Iterator[Any]:
    """The estimator and all fitted estimators inside of it, outer ones first."""
    seen: set[int] = set()
    pending = [estimator]
    while pending:
        part = pending.pop(0)
        if part is None or isinstance(part, str) or id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        pending += [step for _, step in getattr(part, "steps", ())]
        pending += [step for _, step, *_ in getattr(part, "transformers_", ())]
        pending += [step for _, step in getattr(part, "transformer_list", ())]
        pending += _same_input(part)


def _walk(part: Any, columns: list[str], facts: dict[str, Facts]) -> None:
    if part is None or isinstance(part, str):
        return
    if hasattr(part, "steps"):
        for _, step in part.steps:
            _walk(step, columns, facts)
            if not _keeps(step, columns):
                return
    elif hasattr(part, "transformers_"):
        for _, step, selected in part.transformers_:
            _walk(step, _selected(selected, columns), facts)
    elif hasattr(part, "transformer_list"):
        for _, step in part.transformer_list:
            _walk(step, columns, facts)
    else:
        _read(part, columns, facts)
        for inner in _same_input(part):
            _walk(inner, columns, facts)


def _same_input(part: Any) -> list[Any]:
    """Fitted estimators that take what ``part`` takes."""
    for name in ("best_estimator_", "estimator_", "regressor_", "classifier_"):
        if hasattr(part, name):
            return [getattr(part, name)]
    if hasattr(part, "calibrated_classifiers_"):
        return [each.estimator for each in part.calibrated_classifiers_[:1]]
    members = getattr(part, "estimators_", None)
    if isinstance(members, list) and not hasattr(part, "estimators_features_"):
        return [member for member in members[:MOST_PARTS] if hasattr(member, "predict")]
    if type(part).__name__ == "FrozenEstimator":
        return [part.estimator]
    return []


def _keeps(step: Any, columns: list[str]) -> bool:
    if step is None or isinstance(step, str):
        return True
    width = len(getattr(step, "statistics_", columns))
    # Imputers drop columns without any value, and may add columns that say where gaps were.
    return (
        type(step).__name__ in KEEPING
        and width == len(columns)
        and getattr(step, "indicator_", None) is None
    ) or type(step).__module__.startswith("imblearn")


def _selected(selection: Any, columns: list[str]) -> list[str]:
    """Names of the columns that a column transformer gives to a step."""
    import numpy as np

    if isinstance(selection, slice):
        if isinstance(selection.start or selection.stop, str):
            start = columns.index(selection.start) if selection.start else 0
            end = columns.index(selection.stop) + 1 if selection.stop else len(columns)
            return columns[start:end]
        return columns[selection]
    chosen = np.atleast_1d(np.asarray(selection))
    if chosen.dtype == bool:
        return [column for column, taken in zip(columns, chosen, strict=True) if taken]
    return [each if isinstance(each, str) else columns[each] for each in chosen.tolist()]


def _read(part: Any, columns: list[str], facts: dict[str, Facts]) -> None:
    for name, values in zip(columns, _categories(part, columns), strict=False):
        if values is not None:
            facts[name].is_category = True
            facts[name].categories = facts[name].categories or tuple(values)
    coded = _coded(part)
    for position in coded:
        facts[columns[position]].is_category = True
    for position, values in _codes(part, coded).items():
        facts[columns[position]].is_coded = True
        facts[columns[position]].categories = tuple(values)
    if len(columns) == 1 and hasattr(part, "build_analyzer"):
        facts[columns[0]].is_text = True
    if hasattr(part, "get_text_feature_indices"):  # CatBoost
        for position in part.get_text_feature_indices():
            facts[columns[position]].is_text = True


def _categories(part: Any, columns: list[str]) -> list[Any]:
    """For each column the values that an encoder has seen."""
    found = getattr(part, "categories_", None)
    if isinstance(found, list) and len(found) == len(columns):
        return found
    if hasattr(part, "category_count_"):  # CategoricalNB counts the codes from 0
        return [range(counts.shape[1]) for counts in part.category_count_]
    return []


def _coded(part: Any) -> list[int]:
    """Positions of the columns whose numbers are codes of categories."""
    import numpy as np

    if getattr(part, "is_categorical_", None) is not None:  # histogram gradient boosting
        return [int(position) for position in np.flatnonzero(part.is_categorical_)]
    if hasattr(part, "get_cat_feature_indices"):  # CatBoost
        return list(part.get_cat_feature_indices())
    kind = f"{type(part).__module__.partition('.')[0]}"
    if kind == "xgboost" and hasattr(part, "get_booster"):
        types = part.get_booster().feature_types or []
        return [position for position, each in enumerate(types) if each == "c"]
    if kind == "lightgbm" and getattr(part, "fitted_", False):
        header = part.booster_.model_to_string(num_iteration=1).partition("\n\n")[0]
        infos = next(line for line in header.splitlines() if line.startswith("feature_infos="))
        values = infos.partition("=")[2].split(" ")
        # [low:high] for numbers, none for columns without information, else codes.
        return [at for at, each in enumerate(values) if each != "none" and each[:1] != "["]
    return []


def _codes(part: Any, coded: list[int]) -> dict[int, list[Any]]:
    """For columns that had a categorical dtype, by position: its values in the order of codes."""
    if not coded:
        return {}
    module = type(part).__module__.partition(".")[0]
    if module == "lightgbm":
        values = part.booster_.pandas_categorical or []
        return dict(zip(coded, values, strict=True)) if len(values) == len(coded) else {}
    if module == "xgboost" and hasattr(part.get_booster(), "get_categories"):
        kept = part.get_booster().get_categories(export_to_arrow=True).to_arrow() or []
        return {
            position: values.to_pylist()
            for position, (_, values) in enumerate(kept)
            if values is not None
        }
    return {}
