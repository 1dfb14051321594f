"""What a model says of its inputs."""

from collections.abc import Mapping
from typing import Any

from serve_app.model.features import Feature
from serve_app.protocols.tensors import BOOL, BYTES, FP64, INT64, Metadata


def input_metadata(feature: Feature) -> Metadata:
    """The tensor that a column is, of shape [rows, 1]."""
    datatype, content_type = _datatype(feature)
    parameters: dict[str, Any] = {"content_type": content_type}
    if feature.nullable:
        parameters["optional"] = True
    return Metadata(feature.name, datatype, (-1, 1), parameters)


def _datatype(feature: Feature) -> tuple[str, str]:
    """Datatype of a column, and what MLServer calls its content."""
    if feature.kind == "category":
        types = {type(value) for value in feature.values}
        if types == {str}:
            return BYTES, "str"
        if len(types) > 1 and not types <= {int, float}:
            return BYTES, "pd_json"
        return (BOOL, "np") if types == {bool} else (INT64 if types == {int} else FP64, "np")
    known: Mapping[str, tuple[str, str]] = {
        "number": (FP64, "np"),
        "integer": (INT64, "np"),
        "boolean": (BOOL, "np"),
        "text": (BYTES, "str"),
        "datetime": (BYTES, "datetime"),
    }
    return known[feature.kind]
