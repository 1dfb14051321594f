"""The OpenAPI document of one model, in every protocol."""

from collections.abc import Mapping
from importlib import metadata
from typing import Any
from urllib.parse import quote

from serve_app.model.card import ModelCard
from serve_app.model.values import LARGEST_VALUE
from serve_app.protocols.described import ERROR, ERROR_SCHEMA, Description


def openapi_document(card: ModelCard, protocols: Mapping[str, Description]) -> dict[str, Any]:
    """OpenAPI 3.1 description of the service for ``card``, as its ``protocols`` describe it.

    Operations are tagged with the name of their protocol: pages that show the document group them.
    """
    described = protocols.values()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{card.name} {card.task.noun}",
            "version": metadata.version("serve-app"),
            "description": _description(card),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name} for name, each in protocols.items() if each.paths],
        "paths": {
            _quoted(path): {
                method: {"tags": [name], **operation} for method, operation in item.items()
            }
            for name, each in protocols.items()
            for path, item in each.paths.items()
        },
        "components": {
            "schemas": {
                ERROR: ERROR_SCHEMA,
                **{name: schema for each in described for name, schema in each.schemas.items()},
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
