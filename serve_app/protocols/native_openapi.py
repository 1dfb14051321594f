"""The service's own protocol in the OpenAPI document: requests, responses, every error."""

from typing import Any

from pydantic import TypeAdapter

from serve_app.model.answers import object_schema
from serve_app.model.card import ModelCard
from serve_app.protocols.described import FLAGGED, JSON, SCHEMA, Description, error, get, reference
from serve_app.protocols.errors import InvalidBody, Refusal
from serve_app.protocols.schemas import JsonSchemas
from serve_app.settings import Settings

ERROR, INVALID = "Error", "ValidationError"
DOCUMENT = {"type": "object"}


def description(card: ModelCard, bodies: JsonSchemas, settings: Settings) -> Description:
    """What the document has of this protocol."""
    return Description(
        {
            "/predict/": {"post": _operation(card, settings, batch=False)},
            "/predict/batch/": {"post": _operation(card, settings, batch=True)},
            "/": get("index", "What this is and where things are", DOCUMENT, ERROR),
            "/model": get("model", "The model card", DOCUMENT, ERROR),
        },
        {
            "Instance": bodies.instance,
            "Batch": bodies.batch,
            "Prediction": _prediction_response(card),
            "BatchPrediction": _batch_response(card),
            **_error_schemas(),
        },
    )


def _operation(card: ModelCard, settings: Settings, *, batch: bool) -> dict[str, Any]:
    request, response = ("Batch", "BatchPrediction") if batch else ("Instance", "Prediction")
    return {
        "operationId": "predict_batch" if batch else "predict",
        "summary": f"Predict up to {settings.max_rows} rows" if batch else "Predict one row",
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": reference(request), "example": _example(card, batch=batch)}
            },
        },
        "responses": {
            "200": {
                "description": "The prediction",
                "headers": FLAGGED,
                "content": {
                    JSON: {"schema": reference(response), "example": _answer(card, batch=batch)}
                },
            },
            "400": error("The body is not JSON", INVALID),
            "405": error("Another method than POST", ERROR),
            "408": {"description": "The request took longer than the service allows"},
            "413": error(f"The body is larger than {settings.max_body_bytes} bytes", ERROR),
            "415": error("The body is not uncompressed application/json in UTF-8", ERROR),
            "422": error("The body does not fit the schema", INVALID),
            "429": {
                "description": "Too many requests are waiting; try again after Retry-After seconds",
                "headers": {"retry-after": {"schema": {"type": "string"}}},
            },
            "500": error("The model failed", ERROR),
            "503": {"description": "No replica is ready; try again"},
        },
    }


def _example(card: ModelCard, *, batch: bool) -> dict[str, Any]:
    return {"instances": [card.example]} if batch else card.example


def _answer(card: ModelCard, *, batch: bool) -> dict[str, Any]:
    """What the service answers to the example."""
    answer = card.sample.answer
    body = {"predictions": [answer]} if batch else dict(answer)
    return body | {"model_version": card.version}


def _prediction_response(card: ModelCard) -> dict[str, Any]:
    answer = card.task.answer_schema()
    return answer | {
        "properties": answer["properties"] | {"model_version": {"const": card.version}},
        "required": [*answer["required"], "model_version"],
    }


def _batch_response(card: ModelCard) -> dict[str, Any]:
    return object_schema(
        {
            "predictions": {"type": "array", "items": card.task.answer_schema()},
            "model_version": {"const": card.version},
        }
    )


def _error_schemas() -> dict[str, Any]:
    invalid = TypeAdapter(InvalidBody).json_schema(mode="serialization", ref_template=SCHEMA)
    parts = invalid.pop("$defs")
    return {ERROR: TypeAdapter(Refusal).json_schema(), INVALID: invalid, **parts}
