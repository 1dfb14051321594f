"""Rows of a request: an object with a field for each feature."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from serve_app.model.features import Feature
from serve_app.model.values import Kind, value_type, whole

MAX_EXAMPLES = 10


def instance_type(
    features: Iterable[Feature], title: str = "Instance", description: str | None = None
) -> Any:
    """Type of a request's row: an object with a field for each feature, in this order.

    Values are checked as strictly as JSON allows. A value that may be missing and is left out
    becomes None.
    """
    return object_type(title, description, {each.name: _field_type(each) for each in features})


def instance_adapter(features: Iterable[Feature]) -> TypeAdapter[dict[str, Any]]:
    """Validates one row."""
    return TypeAdapter(instance_type(features))


def object_type(title: str, description: str | None, fields: dict[str, Any]) -> Any:
    """Type of an object with these fields and no others."""
    # TypedDict, not create_model: column names need not be Python identifiers, and validation
    # yields a plain dict in the order of the fields.
    make: Any = TypedDict
    made = make(title, fields)
    made.__pydantic_config__ = ConfigDict(extra="forbid", title=title)
    made.__doc__ = description
    return made


def _field_type(feature: Feature) -> Any:
    value = value_type(feature.kind, feature.values, unseen_allowed=feature.unseen_allowed)
    title, description = feature.name, _describe(feature)
    examples = _examples(feature)
    if feature.nullable:
        return Annotated[
            value | None,
            Field(default=None, title=title, description=description, examples=examples),
        ]
    return Annotated[value, Field(title=title, description=description, examples=examples)]


def _describe(feature: Feature) -> str:
    flagged = "is answered and flagged in a response header."
    title = feature.description or feature.name
    subject = f"{title}{f' in {feature.unit}' if feature.unit else ''}"
    if feature.minimum is not None:
        parts = [
            f"{subject}; training range {feature.minimum:g} to {feature.maximum:g}.",
            f"A value outside it {flagged}",
        ]
    elif feature.kind == "category" and feature.unseen_allowed:
        parts = [f"{subject}; {len(feature.values)} known values.", f"Another one {flagged}"]
    elif feature.kind == "datetime":
        parts = [f"{subject}; ISO 8601, in UTC if it has a time zone."]
        if feature.earliest is not None:
            parts[0] += f" Training range {feature.earliest} to {feature.latest}."
            parts.append(f"A value outside it {flagged}")
    else:
        parts = [f"{subject}."]
    if feature.kind == "integer":
        parts.append("Written without a decimal point.")
    if feature.nullable:
        parts.append("May be left out or null.")
        if feature.gaps_in_training is False:
            parts.append(f"It was never missing in training: such a request {flagged}")
    return " ".join(parts)


def _examples(feature: Feature) -> list[Any] | None:
    examples: dict[Kind, list[Any] | None] = {
        "number": [feature.minimum],
        "integer": [whole(feature.minimum)],
        "boolean": [True, False],
        "category": list(feature.values[:MAX_EXAMPLES]),
        "text": None,
        "datetime": [feature.earliest or "2026-01-31T12:00:00"],
    }
    return examples[feature.kind]
