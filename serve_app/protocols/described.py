"""Parts of the OpenAPI document that a protocol adds."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

JSON = "application/json"
ERROR = "OneLineError"
SCHEMA = "#/components/schemas/{model}"
"""Where the document has a schema; pydantic puts the schema's name for ``model``."""


class Description(NamedTuple):
    """What a protocol adds to the OpenAPI document."""

    paths: Mapping[str, Any] = {}
    """OpenAPI path items."""
    schemas: Mapping[str, Any] = {}
    """JSON schemas, by the names under which the paths refer to them."""


ERROR_SCHEMA = {
    "type": "object",
    "properties": {"error": {"type": "string", "description": "The problem in words"}},
    "required": ["error"],
    "additionalProperties": False,
}


FLAGGED = {"x-out-of-range-features": {"$ref": "#/components/headers/OutOfRangeFeatures"}}
"""Headers of an answer."""


def reference(name: str) -> dict[str, str]:
    """A reference to a schema."""
    return {"$ref": SCHEMA.format(model=name)}


def column(name: str) -> dict[str, str]:
    """A reference to the schema of a column's values."""
    # As RFC 6901 has it in a URI.
    pointer = quote(name.replace("~", "~0").replace("/", "~1"), safe="~")
    return {"$ref": f"#/components/schemas/Instance/properties/{pointer}"}


def get(
    operation: str, summary: str, schema: Mapping[str, Any], errors: str = ERROR
) -> dict[str, Any]:
    """Path item of a document that is always there.

    Args:
        operation: its id.
        summary: what it is, in a line.
        schema: of the document.
        errors: name of the schema of refusals.
    """
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "responses": {
                "200": {"description": summary, "content": {JSON: {"schema": schema}}},
                "405": error("Another method than GET", errors),
            },
        }
    }


def post(
    operation: str,
    summary: str,
    request: Mapping[str, Any],
    response: Mapping[str, Any],
    description: str | None = None,
) -> dict[str, Any]:
    """Path item of predictions.

    Args:
        operation: its id.
        summary: what it does, in a line.
        request: content of the body: its schema, and an example.
        response: the same of the answer.
        description: what else there is to say.
    """
    return {
        "post": {
            "operationId": operation,
            "summary": summary,
            **({} if description is None else {"description": description}),
            "requestBody": {"required": True, "content": {JSON: request}},
            "responses": {
                "200": {
                    "description": "The prediction",
                    "headers": FLAGGED,
                    "content": {JSON: response},
                },
                "400": error("The body does not fit"),
                "405": error("Another method than POST"),
                "408": {"description": "The request took longer than the service allows"},
                "413": error("The body is too large"),
                "415": error("The body is of another type, or compressed"),
                "429": {"description": "Too many requests are waiting; try again"},
                "500": error("The model failed"),
                "503": {"description": "No replica is ready; try again"},
            },
        }
    }


def error(description: str, schema: str = ERROR) -> dict[str, Any]:
    """A refusal, whose body has the schema of this name."""
    return {"description": description, "content": {JSON: {"schema": reference(schema)}}}
