"""What a user says of columns: options, files, arguments."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from serve_app.errors import excerpt, first_error
from serve_app.model.features import Feature
from serve_app.packaging.tables import PackagingError

Corrections = Mapping[str, Mapping[str, Any]]
"""For some columns, by name, the fields of `Feature` that a user sets."""


def corrections_of(features: Sequence[Feature] | Corrections | None) -> dict[str, dict[str, Any]]:
    """What a user says of columns, as the fields that are set.

    Raises:
        PackagingError: a column is named twice or is to be renamed, or a switch is neither true
            nor false.
    """
    if features is None:
        return {}
    if isinstance(features, Mapping):
        return {str(name): _checked(str(name), fields) for name, fields in features.items()}
    given = [feature.name for feature in features]
    repeated = sorted({name for name in given if given.count(name) > 1})
    if repeated:
        raise PackagingError(f"feature names must be unique; repeated: {', '.join(repeated)}")
    return {
        feature.name: {
            field: getattr(feature, field) for field in feature.model_fields_set if field != "name"
        }
        for feature in features
    }


def _checked(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of one column; all others are checked when a feature is made of them."""
    if "name" in fields:
        raise PackagingError(
            f"column {name!r} cannot be renamed to {fields['name']!r}: requests have the names "
            "that the estimator was fitted on"
        )
    for switch in ("nullable", "unseen_allowed"):
        if not isinstance(fields.get(switch, False), bool):
            raise PackagingError(
                f"column {name!r}: {switch}={fields[switch]!r} is neither true nor false"
            )
    return dict(fields)


def parse_feature(text: str) -> Feature:
    """Parse ``NAME=MIN..MAX[:UNIT]``, such as ``sepal_length=4.3..7.9:cm``.

    Raises:
        PackagingError: the text is not of that form.
    """
    name, _, rest = text.partition("=")
    interval, _, unit = rest.partition(":")
    low, _, high = interval.partition("..")
    try:
        fields = {"name": name, "minimum": float(low), "maximum": float(high)}
        return Feature(**fields, **({"unit": unit} if unit else {}))  # type: ignore[arg-type]
    except ValidationError as error:
        raise PackagingError(first_error(error)) from error
    except ValueError as error:
        raise PackagingError(
            f"feature {text!r} is not NAME=MIN..MAX[:UNIT], such as sepal_length=4.3..7.9:cm"
        ) from error


def read_schema(path: Path) -> dict[str, dict[str, Any]]:
    """Read a YAML or JSON file that says of some columns what is to be changed.

    It maps names of columns to fields of `Feature`::

        age: {unit: years, description: at the time of the contract}
        plan: {kind: category, categories: [basic, pro], unseen_allowed: false}

    Raises:
        PackagingError: unreadable, or of another form.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise PackagingError(
            f"{path}: cannot read a schema: {excerpt(str(error))}; give YAML or JSON"
        ) from error
    if isinstance(found, dict) and isinstance(found.get("features"), dict):
        found = found["features"]
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise PackagingError(
            f"{path}: a schema maps names of columns to what is to be changed, such as "
            '{"age": {"unit": "years", "kind": "integer"}}'
        )
    return {str(name): dict(fields) for name, fields in found.items()}
