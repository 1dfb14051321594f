"""What V1 and Vertex AI share: ``{"instances": [...]}`` in, ``{"predictions": [...]}`` out."""

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic_core import from_json

from serve_app.model.answers import object_schema
from serve_app.model.card import ModelCard
from serve_app.model.predictor import Rows
from serve_app.protocols.answers import Answer, flagged, json_answer
from serve_app.protocols.columns import JSON_TYPES, as_json
from serve_app.protocols.described import column, reference
from serve_app.protocols.errors import not_json
from serve_app.protocols.repeated_keys import reject_repeated_keys, strings_in
from serve_app.protocols.results import PREDICT, Selection
from serve_app.protocols.tensors import Tensor, TensorError
from serve_app.protocols.use_case import UseCase
from serve_app.telemetry.plain_spans import PlainContext

INSTANCES, PREDICTIONS = "instances", "predictions"
PARAMETERS, OUTPUT = "parameters", "output"
"""``{"parameters": {"output": "predict_proba"}}`` asks for another output than ``predict``."""


def parse(body: bytes, *, rows: Sequence[str], others: Sequence[str] = ()) -> dict[str, Any]:
    """The object that a body is.

    Args:
        body: JSON.
        rows: keys of which it has one, with the rows.
        others: keys that it may have.

    Raises:
        InvalidBodyError: no JSON.
        TensorError: no object, an unknown key, or not one of ``rows``.
    """
    try:
        parsed = from_json(body)
    except ValueError as error:
        raise not_json(body, error) from None
    if not isinstance(parsed, dict):
        raise TensorError("body", f'should be an object: {{"{rows[0]}": [...]}}', _shown(parsed))
    for key in parsed:
        if key not in (*rows, *others):
            raise TensorError(key[:100], f"unknown; known are {', '.join((*rows, *others))}")
    if len(parsed.keys() & set(rows)) != 1:
        raise TensorError(" or ".join(rows), "missing, or given more than once")
    return parsed


def _shown(value: Any) -> Any:
    """A value for a message; of what may be long, its kind."""
    return f"an array of {len(value)} values" if isinstance(value, list) else value


class Instances:
    """Predicts rows that are JSON objects, or arrays in the order of the card.

    Args:
        use_case: what answers.
        protocol: name of the protocol.
    """

    def __init__(self, use_case: UseCase, protocol: str) -> None:
        self._use_case = use_case
        self._protocol = protocol
        card: ModelCard = use_case.card
        self._features = card.features
        self._names = card.feature_names

    def describe(self, *, output: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        """Content of a request and of its answer, for the OpenAPI document.

        Args:
            output: whether a parameter may ask for another output.
        """
        card = self._use_case.card
        width, limit = len(self._names), self._use_case.settings.max_rows
        array = {
            "type": "array",
            "prefixItems": list(map(column, self._names)),
            "minItems": width,
            "maxItems": width,
        }
        rows = [
            {"type": "array", "minItems": 1, "maxItems": limit, "items": each}
            for each in (reference("Instance"), array)
        ]
        schema = object_schema({INSTANCES: {"anyOf": rows}})
        if output:
            names = {"enum": [each.name for each in self._use_case.tensors.outputs]}
            schema["properties"][PARAMETERS] = {
                "type": ["object", "null"],
                "properties": {OUTPUT: names},
                "additionalProperties": False,
            }
        (tensor,) = self._use_case.tensors.results(
            card.task.prediction_of(card.sample.answer), self._use_case.tensors.selection(())
        )
        return (
            {
                "schema": schema,
                "example": {INSTANCES: [list(card.example.values())]},
            },
            {
                "schema": object_schema({PREDICTIONS: {"type": "array"}}),
                "example": {PREDICTIONS: _rows_of(tensor)},
            },
        )

    async def answer(
        self,
        body: bytes,
        parsed: dict[str, Any],
        rows_key: str,
        parent: PlainContext | None,
        output: str = PREDICT,
    ) -> Answer:
        """Predict the rows of a request.

        Args:
            body: the request's.
            parsed: what `parse` made of it; everything but the rows is known to be short.
            rows_key: key of the rows.
            parent: the request's span.
            output: one of the model's outputs.

        Raises:
            InvalidBodyError: rows that do not fit the card, or that the model refuses; a key that
                is repeated.
            TensorError: the same, and an unknown output.
        """
        selection: Selection = self._use_case.tensors.selection([output])
        rows = self._rows(parsed[rows_key])
        # Now it has no more values than a request may have.
        reject_repeated_keys(body, expected=strings_in(parsed))
        await self._use_case.turn(len(body))
        prediction, out_of_range = await self._use_case(rows, parent, self._protocol)
        await self._use_case.turn(len(body))
        (tensor,) = self._use_case.tensors.results(prediction, selection)
        return json_answer({PREDICTIONS: _rows_of(tensor)}, headers=flagged(out_of_range))

    def _rows(self, found: Any) -> Rows:
        schema = self._use_case.schema
        if not isinstance(found, list) or all(isinstance(each, dict) for each in found):
            return schema.rows(found)
        limit, width = self._use_case.settings.max_rows, len(self._names)
        if len(found) > limit:
            raise TensorError(INSTANCES, f"1 to {limit} rows", len(found))
        if width == 1:
            # A vectoriser of texts is given the texts.
            found = [each if isinstance(each, list) else [each] for each in found]
        for place, each in enumerate(found):
            if not isinstance(each, list) or len(each) != width:
                raise TensorError(
                    f"{INSTANCES}[{place}]",
                    f"rows are all objects, or all arrays of {width} values: "
                    f"{schema.listed_columns}",
                    _shown(each),
                )
        columns = [
            as_json(feature, column)
            for feature, column in zip(self._features, zip(*found, strict=True), strict=True)
        ]
        return schema.rows(
            [dict(zip(self._names, row, strict=True)) for row in zip(*columns, strict=True)]
        )


def _rows_of(tensor: Tensor) -> list[Any]:
    """One value for each row, or a list of them where there are several."""
    values = list(tensor.values)
    if tensor.content_type in JSON_TYPES:
        values = list(map(orjson.loads, values))
    width = tensor.shape[1]
    if width == 1:
        return values
    return [values[start : start + width] for start in range(0, len(values), width)]
