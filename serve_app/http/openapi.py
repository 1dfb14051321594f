"""The OpenAPI document of one model: both requests, both responses, every error."""

from collections.abc import Iterable
from importlib import metadata
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from serve_app.model.card import ModelCard
from serve_app.model.values import LARGEST_VALUE
from serve_app.protocols.described import ERROR, ERROR_SCHEMA, Description
from serve_app.protocols.errors import InvalidBody, Refusal
from serve_app.protocols.schemas import JsonSchemas
from serve_app.settings import Settings

JSON = "application/json"
COMPONENT = "#/components/schemas/{model}"


def openapi_document(
    card: ModelCard,
    bodies: JsonSchemas,
    settings: Settings,
    protocols: Iterable[Description] = (),
) -> dict[str, Any]:
    """OpenAPI 3.1 description of the service for ``card``, with what ``protocols`` add to it."""
    further = list(protocols)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{card.name} {card.task.noun}",
            "version": metadata.version("serve-app"),
            "description": _description(card),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/predict/": {"post": _operation(card, settings, batch=False)},
            "/predict/batch/": {"post": _operation(card, settings, batch=True)},
            "/": {"get": _get("index", "What this is and where things are")},
            "/model": {"get": _get("model", "The model card")},
            **{_quoted(path): item for each in further for path, item in each.paths.items()},
        },
        "components": {
            "schemas": {
                "Instance": bodies.instance,
                "Batch": bodies.batch,
                "Prediction": _prediction_response(card),
                "BatchPrediction": _batch_response(card),
                **_error_schemas(),
                **{name: schema for each in further for name, schema in each.schemas.items()},
            },
            "headers": {
                "OutOfRangeFeatures": {
                    "description": "Features with a value outside the training range, of an "
                    "unknown category, or without a value though training always had one; "
                    "percent-encoded and separated by commas; absent if there are none.",
                    "schema": {"type": "string"},
                }
            },
        },
    }


def _quoted(path: str) -> str:
    """A path as it is in a URL; braces have a meaning of their own in the document."""
    return quote(path, safe="/:")


def _description(card: ModelCard) -> str:
    facts = [f"{name.capitalize()}: {value}." for name, value in card.task.facts().items()]
    return " ".join(
        [
            f"Model {card.name} {card.version}: {card.estimator}.",
            *facts,
            f"Numbers are finite and of a magnitude up to {LARGEST_VALUE:g}.",
        ]
    )


def _operation(card: ModelCard, settings: Settings, *, batch: bool) -> dict[str, Any]:
    request, response = ("Batch", "BatchPrediction") if batch else ("Instance", "Prediction")
    return {
        "operationId": "predict_batch" if batch else "predict",
        "summary": f"Predict up to {settings.max_rows} rows" if batch else "Predict one row",
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": _reference(request), "example": _example(card, batch=batch)}
            },
        },
        "responses": {
            "200": {
                "description": "The prediction",
                "headers": {
                    "x-out-of-range-features": {"$ref": "#/components/headers/OutOfRangeFeatures"}
                },
                "content": {
                    JSON: {"schema": _reference(response), "example": _answer(card, batch=batch)}
                },
            },
            "400": _error("The body is not JSON", "ValidationError"),
            "405": _error("Another method than POST"),
            "408": {"description": "The request took longer than the service allows"},
            "413": _error(f"The body is larger than {settings.max_body_bytes} bytes"),
            "415": _error("The body is not uncompressed application/json in UTF-8"),
            "422": _error("The body does not fit the schema", "ValidationError"),
            "429": {
                "description": "Too many requests are waiting; try again after Retry-After seconds",
                "headers": {"retry-after": {"schema": {"type": "string"}}},
            },
            "500": _error("The model failed"),
            "503": {"description": "No replica is ready; try again"},
        },
    }


def _get(operation: str, summary: str) -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": {JSON: {"schema": {"type": "object"}}}},
            "405": _error("Another method than GET"),
        },
    }


def _example(card: ModelCard, *, batch: bool) -> dict[str, Any]:
    return {"instances": [card.example]} if batch else card.example


def _answer(card: ModelCard, *, batch: bool) -> dict[str, Any]:
    """What the service answers to the example."""
    answer = card.sample.answer
    body = {"predictions": [answer]} if batch else dict(answer)
    return body | {"model_version": card.version}


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": COMPONENT.format(model=schema)}


def _error(description: str, schema: str = "Error") -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": _reference(schema)}}}


def _prediction_response(card: ModelCard) -> dict[str, Any]:
    answer = card.task.answer_schema()
    return answer | {
        "properties": answer["properties"] | {"model_version": {"const": card.version}},
        "required": [*answer["required"], "model_version"],
    }


def _batch_response(card: ModelCard) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": card.task.answer_schema()},
            "model_version": {"const": card.version},
        },
        "required": ["predictions", "model_version"],
        "additionalProperties": False,
    }


def _error_schemas() -> dict[str, Any]:
    invalid = TypeAdapter(InvalidBody).json_schema(mode="serialization", ref_template=COMPONENT)
    parts = invalid.pop("$defs")
    return {
        "Error": TypeAdapter(Refusal).json_schema(),
        "ValidationError": invalid,
        ERROR: ERROR_SCHEMA,
        **parts,
    }
