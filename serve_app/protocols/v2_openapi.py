"""V2's request in the OpenAPI document.

JSON schema cannot say that a shape has as many elements as the data. So the document has one form
exactly, which fits every model: one row, and a tensor for each column.
"""

import json
from collections.abc import Sequence
from typing import Any

from serve_app.model.answers import object_schema
from serve_app.model.card import ModelCard
from serve_app.model.features import Feature
from serve_app.protocols.columns import CONTENT_TYPES, JSON_TYPES
from serve_app.protocols.described import column
from serve_app.protocols.tensors import FP64, Metadata

REQUEST = "InferenceRequest"
DESCRIPTION = (
    "One row, in the form that fits every model. Many rows, one tensor of all columns, and tensors "
    "in bytes after the JSON are accepted as well, as the Open Inference Protocol has them."
)
ONE = [1, 1]
PLAIN_TYPES = tuple(each for each in CONTENT_TYPES if each not in JSON_TYPES)
SCALAR = {
    "anyOf": [
        {"type": ["string", "boolean", "null"]},
        {"type": "number", "minimum": -(2**63), "maximum": 2**64 - 1},
    ]
}
"""A parameter."""


def request_schema(
    card: ModelCard, inputs: Sequence[Metadata], outputs: Sequence[Metadata]
) -> dict[str, Any]:
    """JSON schema of the documented form."""
    tensors = [_tensor(*each) for each in zip(card.features, inputs, strict=True)]
    output = object_schema({"name": {"enum": [each.name for each in outputs]}})
    schema = object_schema(
        {
            "inputs": {
                "type": "array",
                "prefixItems": tensors,
                "minItems": len(tensors),
                "maxItems": len(tensors),
            },
            **{key: {"type": ["string", "null"]} for key in ("id", "model_name", "model_version")},
            "outputs": {"type": ["array", "null"], "items": output, "uniqueItems": True},
        }
    )
    return {**schema, "required": ["inputs"]}


def request_example(card: ModelCard, inputs: Sequence[Metadata]) -> dict[str, Any]:
    """The card's example in this form."""
    example = card.example
    return {
        "inputs": [
            {
                "name": each.name,
                "shape": ONE,
                "datatype": _datatype(feature, each),
                "parameters": {"content_type": each.parameters["content_type"]},
                "data": [json.dumps(value) if _is_json(each) else value],
            }
            for feature, each, value in zip(card.features, inputs, example.values(), strict=True)
        ]
    }


def _tensor(feature: Feature, each: Metadata) -> dict[str, Any]:
    value: dict[str, Any] = column(each.name)
    if is_json := _is_json(each):
        value = {"enum": [json.dumps(known) for known in feature.values]}
    content_type: dict[str, Any] = {"enum": [*PLAIN_TYPES, None]}
    if is_json:
        content_type = {"const": each.parameters["content_type"]}
    parameters = {
        "type": "object" if is_json else ["object", "null"],
        "properties": {"content_type": content_type},
        "required": ["content_type"] if is_json else [],
        "additionalProperties": SCALAR,
    }
    schema = object_schema(
        {
            "name": {"const": each.name},
            "shape": {"enum": [ONE, ONE[:1]]},
            "datatype": {"const": _datatype(feature, each)},
            "parameters": parameters,
            "data": {"type": "array", "prefixItems": [value], "minItems": 1, "maxItems": 1},
        }
    )
    # Only JSON texts have to say what they are.
    required = [name for name in schema["required"] if is_json or name != "parameters"]
    return {**schema, "required": required}


def _is_json(each: Metadata) -> bool:
    return each.parameters["content_type"] in JSON_TYPES


def _datatype(feature: Feature, each: Metadata) -> str:
    """That of the metadata; a category of integers takes other numbers, too."""
    is_number = feature.kind == "category" and each.datatype.startswith("INT")
    return FP64 if is_number else each.datatype
