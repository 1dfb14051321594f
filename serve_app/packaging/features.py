"""What the columns of a model hold: read from data, from the estimator's steps, and from a user.

A user's word counts most, then what the estimator says, then the data types.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from serve_app.errors import excerpt, first_error
from serve_app.model.features import Category, Feature
from serve_app.model.values import LARGEST_INTEGER, Kind
from serve_app.packaging.corrections import Corrections
from serve_app.packaging.rows import as_moments, as_numbers
from serve_app.packaging.steps import Facts
from serve_app.packaging.tables import PackagingError, names

MOST_CATEGORIES = 50_000
"""Known values of a category that an encoder has seen; with more it is a number or a text."""
FEW_VALUES, FEW_SHARE, MOST_VALUES = 100, 0.2, 1_000
"""Different strings that count as categories where the estimator does not say what they are: so
many, or of many rows such a share, but at most so many."""

KINDS_OF_FIELD: Mapping[str, tuple[Kind, ...]] = {
    **dict.fromkeys(("minimum", "maximum"), ("number", "integer")),
    **dict.fromkeys(("earliest", "latest"), ("datetime",)),
    "categories": ("category",),
}
"""Fields of a feature that count for some kinds only."""

NUMBERS = ("floating", "mixed-integer-float", "decimal", "empty")
COUNTED = (*NUMBERS, "integer", "string")
"""What pandas calls the values of a column: numbers, and what may be few different values."""


def infer_features(
    frame: Any, facts: Mapping[str, Facts], corrections: Corrections
) -> tuple[Feature, ...]:
    """Features of the columns of a pandas DataFrame.

    A column is nullable here if values are missing in it, and every category may be unseen;
    `serve_app.packaging.nullability` finds out what the estimator answers.

    Raises:
        PackagingError: a column that no request can send, or corrections that do not fit.
    """
    _require_known(corrections, list(frame.columns))
    return tuple(
        _feature(name, frame[name], facts[name], corrections.get(name, {}))
        for name in frame.columns
    )


def declared_features(facts: Mapping[str, Facts], corrections: Corrections) -> tuple[Feature, ...]:
    """Features without any data: what a user says of each column, and the estimator of codes.

    Raises:
        PackagingError: too little is said.
    """
    _require_known(corrections, list(facts))
    return tuple(_feature(name, None, facts[name], corrections.get(name, {})) for name in facts)


def _feature(name: str, column: Any, facts: Facts, correction: Mapping[str, Any]) -> Feature:
    if correction.get("kind", "number") not in get_args(Kind):
        raise PackagingError(
            f"column {name!r}: kind {correction['kind']!r} is none of {', '.join(get_args(Kind))}"
        )
    known: dict[str, Any] = {"name": name}
    if column is not None:
        kind = correction.get("kind") or _kind_of(name, column, facts)
        known |= _facts_of_column(name, column, kind, facts)
        known["dtype"] = str(column.dtype)
        known["gaps_in_training"] = bool(column.isna().any())
        if column.dtype == object and any(value is None for value in column):
            known["missing_is_none"] = True
    elif facts.is_category and len(facts.categories):
        kind = correction.get("kind", "category")
        known["categories"] = _categories(facts.categories)
    else:
        kind = correction.get("kind") or ("text" if facts.is_text else "number")
    _require_fitting(name, correction, kind)
    # Whether others may be missing is found out by asking.
    known |= {"kind": kind, "nullable": bool(known.get("gaps_in_training"))}
    try:
        known |= _corrected(correction, known) | {"nullable": known["nullable"]}
        if kind != "category":
            known.pop("categories", None)
        if kind not in ("number", "integer"):
            known.pop("minimum", None)
            known.pop("maximum", None)
        return Feature(**known)
    except ValidationError as error:
        raise PackagingError(_explained(name, first_error(error))) from error


def _require_fitting(name: str, correction: Mapping[str, Any], kind: Kind) -> None:
    """Refuse what a user says of a column if it cannot count there."""
    for field, kinds in KINDS_OF_FIELD.items():
        value = correction.get(field)
        if value not in (None, (), []) and kind not in kinds:
            raise PackagingError(
                f"column {name!r}: {field}={excerpt(str(value))} is for {' or '.join(kinds)}, and "
                f"the kind of this column is {kind}; correct its kind, or leave {field} out"
            )
    if (dtype := correction.get("dtype")) is not None:
        from pandas.api.types import pandas_dtype

        try:
            pandas_dtype(dtype)
        except (TypeError, ValueError) as error:
            raise PackagingError(
                f"column {name!r}: dtype={dtype!r} is none of pandas: {excerpt(str(error))}; give "
                "one such as float64, Int64, category or datetime64[ns], or leave dtype out"
            ) from error


def _explained(name: str, problem: str) -> str:
    return problem if repr(name) in problem else f"column {name!r}: {problem}"


def _corrected(correction: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """A user's fields; categories may be given as values alone, and are then counted."""
    fields = dict(correction)
    if "categories" in fields:
        rows = {repr(each.value): each.rows for each in known.get("categories", ())}
        fields["categories"] = tuple(
            each
            if isinstance(each, Category | dict)
            else Category(value=each, rows=rows.get(repr(each), 0))
            for each in fields["categories"]
        )
    return fields


def _kind_of(name: str, column: Any, facts: Facts) -> Kind:
    """Kind of a column as its data type and the estimator have it."""
    from pandas.api import types

    inferred = types.infer_dtype(column, skipna=True)
    different = column.nunique() if inferred in COUNTED else 0
    is_code = facts.is_category and different <= MOST_CATEGORIES
    few = different <= max(FEW_VALUES, min(FEW_SHARE * len(column), MOST_VALUES))
    is_category = is_code or (few and not facts.is_category and not facts.is_text)
    kinds: dict[str, Kind] = {
        **dict.fromkeys(("datetime64", "datetime", "date"), "datetime"),
        **dict.fromkeys(NUMBERS, "number"),
        "boolean": "boolean",
        "categorical": "category",
        "integer": "integer",
        "string": "category" if is_category else "text",
    }
    has_categories = isinstance(column.dtype, types.CategoricalDtype)
    kind = kinds.get("categorical" if has_categories else inferred)
    if kind is not None:
        return "category" if is_code and kind in ("number", "integer") else kind
    raise PackagingError(
        f"column {name!r} holds values of a kind that JSON has not ({inferred}: "
        f"{excerpt(repr(column.dropna().iloc[0]))}); make numbers, strings, booleans or datetimes "
        "of them, as a step before the estimator"
    )


def _facts_of_column(name: str, column: Any, kind: Kind, facts: Facts) -> dict[str, Any]:
    present = column.dropna()
    if kind in ("number", "integer"):
        numbers = _checked_numbers(name, present)
        if not len(numbers):
            return {"minimum": 0.0, "maximum": 0.0}
        if kind == "integer" and np.abs(numbers).max() > LARGEST_INTEGER:
            raise PackagingError(
                f"column {name!r} has integers beyond {LARGEST_INTEGER}, which JSON and floats do "
                "not keep apart; give them as strings, or leave the column out"
            )
        return {"minimum": float(numbers.min()), "maximum": float(numbers.max())}
    if kind == "datetime" and len(present):
        moments = as_moments(present)
        return {"earliest": min(moments), "latest": max(moments)}
    if kind == "category":
        return {"categories": _counted(column, facts)}
    return {}


def _checked_numbers(name: str, present: Any) -> Any:
    try:
        numbers = as_numbers(present)
    except (TypeError, ValueError) as error:
        raise PackagingError(
            f"column {name!r} must be numeric: {excerpt(str(error))}; correct its kind, or the "
            "values"
        ) from error
    infinite = int((~np.isfinite(numbers)).sum())
    if infinite:
        raise PackagingError(
            f"column {name!r} has {infinite} infinite values; JSON has none, so fit and package "
            "without them"
        )
    return numbers


def _counted(column: Any, facts: Facts) -> tuple[Category, ...]:
    """Known values with their frequencies: the estimator's, else those of the data in order."""
    from pandas.api.types import CategoricalDtype

    counts = {_plain(value): int(rows) for value, rows in column.value_counts().items()}
    if len(facts.categories):
        return _categories(facts.categories, counts)
    if isinstance(column.dtype, CategoricalDtype):
        return _categories(column.cat.categories, counts)
    return _categories(sorted(counts, key=lambda value: (isinstance(value, str), value)), counts)


def _categories(values: Iterable[Any], counts: Mapping[Any, int] = {}) -> tuple[Category, ...]:
    plain = [_plain(value) for value in values]
    return tuple(
        Category(value=value, rows=counts.get(value, 0))
        for value in plain
        if value is not None and value == value  # noqa: PLR0124 - NaN stands for a missing value
    )


def _plain(value: Any) -> Any:
    """A value as JSON has it; whole numbers are integers."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _require_known(corrections: Corrections, columns: Sequence[str]) -> None:
    unknown = [name for name in corrections if name not in columns]
    if unknown:
        raise PackagingError(
            f"there is no column {', '.join(map(repr, unknown))}; the columns are {names(columns)}"
        )
