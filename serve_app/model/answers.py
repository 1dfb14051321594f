"""Parts of the JSON answers: their schemas, and how they are read back and checked."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from serve_app.model.comparison import same

SUM_TOLERANCE = 1e-3
"""Largest distance from 1 of a sum of probabilities."""
NO_PROBABILITIES = {"type": "null", "description": "This classifier gives no probabilities."}


def object_schema(properties: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """JSON schema of an object with these properties, all of them required, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def probability_schema(keys: Iterable[str]) -> dict[str, Any]:
    """JSON schema of the probabilities of the classes ``keys``."""
    return {
        **object_schema(
            {key: {"type": "number", "minimum": 0, "maximum": 1.00001} for key in keys}
        ),
        "description": "Probability of each class; they add up to 1.",
    }


def fields(answer: Any, *names: str) -> tuple[Any, ...]:
    """Values of the fields ``names``; others are allowed, such as the version of the model.

    Raises:
        ValueError: not an object, or one of them is missing.
    """
    if not isinstance(answer, Mapping):
        raise ValueError("an answer that is no JSON object")  # noqa: TRY004
    missing = [name for name in names if name not in answer]
    if missing:
        raise ValueError(f"an answer without {', '.join(missing)}")
    return tuple(answer[name] for name in names)


def require_label(label: Any, classes: Sequence[Any]) -> None:
    """Raise ValueError if ``label`` is none of the classes, or of another JSON type."""
    if not any(same(known, label) for known in classes):
        raise ValueError(f"a class that the model does not have: {label!r}")


def require_number(value: Any) -> float:
    """Return a finite JSON number as a float; raise ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} where a finite number must be")
    return float(value)


def require_no_probabilities(found: Any) -> None:
    """Raise ValueError if there are probabilities."""
    if found is not None:
        raise ValueError("probabilities that the model does not have")


def probabilities_of(found: Any, keys: Sequence[str]) -> list[float]:
    """Probabilities of the classes ``keys`` of one row.

    Raises:
        ValueError: they are of other classes or in another order, no numbers, or do not add up.
    """
    if not isinstance(found, Mapping) or list(found) != list(keys):
        raise ValueError(f"probabilities that are not those of {', '.join(keys)}, in this order")
    row = list(map(require_number, found.values()))
    if abs(sum(row) - 1) > SUM_TOLERANCE:
        raise ValueError("probabilities that do not add up to 1")
    return row
