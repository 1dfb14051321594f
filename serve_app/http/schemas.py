"""Validation and JSON schema of request bodies, both made from the model card."""

import collections
import itertools
import json
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import TypedDict  # before Python 3.12, pydantic does not accept typing's

from serve_app.http.errors import does_not_fit, not_json, repeated_keys
from serve_app.model.card import LARGEST_VALUE, Feature, ModelCard
from serve_app.model.predictor import Rows


class JsonSchemas(NamedTuple):
    """JSON schemas of both request bodies."""

    instance: dict[str, Any]
    batch: dict[str, Any]


class RequestSchema:
    """Validates request bodies against the card's features, in one pass and in bulk."""

    def __init__(self, card: ModelCard, *, max_rows: int) -> None:
        self._features = card.features
        # Called thousands of times a second: TypeAdapter's own methods add 0.5 us.
        self._instance_adapter, self._batch_adapter = _adapters(card, max_rows)
        self._validate_instance = self._instance_adapter.validator.validate_python
        self._validate_batch = self._batch_adapter.validator.validate_python
        self._ranges = [(each.name, each.minimum, each.maximum) for each in card.features]

    def instance(self, body: bytes) -> Rows:
        """Parse the body of one prediction to shape [1, features].

        Raises:
            InvalidBodyError: not JSON, or not a valid instance.
        """
        values = _validated(self._validate_instance, body)
        _reject_repeated_keys(body, expected=len(self._features))
        return np.array([tuple(values.values())], dtype=np.float64)

    def batch(self, body: bytes) -> Rows:
        """Parse the body of a batch prediction to shape [instances, features].

        Raises:
            InvalidBodyError: not JSON, or not a valid batch.
        """
        instances: list[dict[str, float]] = _validated(self._validate_batch, body)["instances"]
        shape = (len(instances), len(self._features))
        _reject_repeated_keys(body, expected=1 + shape[0] * shape[1])
        flat = itertools.chain.from_iterable(map(dict.values, instances))
        return np.fromiter(flat, dtype=np.float64, count=shape[0] * shape[1]).reshape(shape)

    def out_of_range(self, rows: Rows) -> list[str]:
        """Names of the features with a value outside the training range in any of ``rows``."""
        if len(rows) == 1:
            # A few comparisons in Python cost less than one array operation.
            return [
                name
                for value, (name, minimum, maximum) in zip(
                    rows[0].tolist(), self._ranges, strict=True
                )
                if not minimum <= value <= maximum
            ]
        lowest, highest = rows.min(axis=0).tolist(), rows.max(axis=0).tolist()
        return [
            name
            for low, high, (name, minimum, maximum) in zip(
                lowest, highest, self._ranges, strict=True
            )
            if low < minimum or high > maximum
        ]

    def json_schemas(self) -> JsonSchemas:
        """Schemas for the OpenAPI document."""
        instance = self._instance_adapter.json_schema()
        batch = self._batch_adapter.json_schema(ref_template="#/components/schemas/{model}")
        batch.pop("$defs", None)
        return JsonSchemas(instance, batch)


def _validated(validate: Callable[[Any], Any], body: bytes) -> Any:
    # Two steps, because pydantic otherwise copies the whole body into every error.
    try:
        return validate(from_json(body))
    except ValidationError as error:
        raise does_not_fit(error) from None
    except ValueError as error:
        raise not_json(body, error) from None


def _reject_repeated_keys(body: bytes, *, expected: int) -> None:
    # JSON parsers keep the last of two equal keys and hide the client's mistake. In a body that is
    # otherwise valid only keys are quoted, so counting quotation marks is enough.
    if body.count(b'"') == 2 * expected:
        return
    repeated: list[str] = []

    def note_repeated(pairs: list[tuple[str, Any]]) -> None:
        counts = collections.Counter(key for key, _ in pairs)
        repeated.extend(key for key, count in counts.items() if count > 1)

    json.loads(body, object_pairs_hook=note_repeated)
    raise repeated_keys(repeated)


def _adapters(card: ModelCard, max_rows: int) -> tuple[TypeAdapter[Any], TypeAdapter[Any]]:
    instance = _object_type(
        "Instance",
        f"One row for the model {card.name}.",
        {feature.name: _value_type(feature) for feature in card.features},
    )
    instances = Annotated[
        list[instance],  # type: ignore[valid-type]
        Field(
            min_length=1,
            max_length=max_rows,
            description=f"1 to {max_rows} rows, answered in the same order.",
            examples=[[card.example, card.example]],
        ),
    ]
    batch = _object_type(
        "Batch", f"Several rows for the model {card.name}.", {"instances": instances}
    )
    return TypeAdapter(instance), TypeAdapter(batch)


def _object_type(title: str, description: str, fields: dict[str, Any]) -> Any:
    # TypedDict, not create_model: column names need not be Python identifiers, and validation
    # yields a plain dict in the card's order.
    make: Any = TypedDict
    made = make(title, fields)
    made.__pydantic_config__ = ConfigDict(extra="forbid", title=title)
    made.__doc__ = description
    return made


def _value_type(feature: Feature) -> Any:
    unit = f" in {feature.unit}" if feature.unit else ""
    return Annotated[
        float,
        Field(
            strict=True,
            allow_inf_nan=False,
            ge=-LARGEST_VALUE,
            le=LARGEST_VALUE,
            title=feature.name,
            description=(
                f"{feature.name}{unit}; training range {feature.minimum:g} to {feature.maximum:g}."
                " A value outside it is answered and flagged in a response header."
            ),
            examples=[feature.minimum],
        ),
    ]
