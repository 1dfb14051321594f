"""What every OpenAPI document of the service must be."""

from typing import Any

import schemathesis
from jsonschema import Draft202012Validator


def require_valid(document: Any) -> None:
    """OpenAPI 3.1 with valid JSON schemas and no dangling reference."""
    schemathesis.openapi.from_dict(document).validate()
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in references(document):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def references(node: Any) -> list[str]:
    """Every ``$ref`` in a document."""
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [found for value in node.values() for found in references(value)]
    if isinstance(node, list):
        return [found for value in node for found in references(value)]
    return []
