"""Validation and JSON schema of request bodies, both made from the model card."""

import collections
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from serve_app.model.card import ModelCard
from serve_app.model.features import Feature
from serve_app.model.instances import instance_type, object_type
from serve_app.model.predictor import Rows, is_missing, rows_dtype
from serve_app.model.values import parse_datetime
from serve_app.protocols.errors import does_not_fit, not_json, repeated_keys

LONGEST_LIST = 400
"""Characters of the names of columns in a message."""


class JsonSchemas(NamedTuple):
    """JSON schemas of both request bodies."""

    instance: dict[str, Any]
    batch: dict[str, Any]


class RequestSchema:
    """Validates request bodies against the card's features, in one pass and in bulk."""

    def __init__(self, card: ModelCard, *, max_rows: int) -> None:
        features = card.features
        self._width = len(features)
        # Called thousands of times a second: TypeAdapter's own methods add 0.5 us.
        self._instance_adapter, self._batch_adapter = _adapters(card, max_rows)
        self._validate_instance = self._instance_adapter.validator.validate_python
        self._validate_batch = self._batch_adapter.validator.validate_python
        self._dtype: Any = rows_dtype(features)
        self._has_gaps = self._dtype is not object and any(each.nullable for each in features)
        self._strings_of = _strings_of(features)
        # Names of the features that have a check beyond a range, or that are not in float rows.
        self._checks = [(feature.name, _unseen_in(feature)) for feature in features]
        self._ranges = _ranges(features)
        self.listed_columns = _listed(card.feature_names)
        """Names of the columns for a message; of very many, the first."""
        self._order = {feature.name: place for place, feature in enumerate(features)}
        self._never_missing = [
            (position, feature.name)
            for position, feature in enumerate(features)
            if feature.nullable and feature.gaps_in_training is False
        ]

    def instance(self, body: bytes) -> Rows:
        """Parse the body of one prediction to shape [1, features].

        Raises:
            InvalidBodyError: not JSON, or not a valid instance.
        """
        parsed, values = self._validated(body, batch=False)
        reject_repeated_keys(body, expected=self._strings_of((parsed,)))
        return np.array([tuple(values.values())], dtype=self._dtype)

    def row(self, instance: dict[str, Any]) -> Rows | None:
        """Row of shape [1, features] of one parsed instance; None if it is not valid."""
        try:
            values = self._validate_instance(instance)
        except ValidationError:
            return None
        return np.array([tuple(values.values())], dtype=self._dtype)

    def batch(self, body: bytes) -> Rows:
        """Parse the body of a batch prediction to shape [instances, features].

        Raises:
            InvalidBodyError: not JSON, or not a valid batch.
        """
        parsed, valid = self._validated(body, batch=True)
        reject_repeated_keys(body, expected=1 + self._strings_of(parsed["instances"]))
        return self._rows(valid["instances"])

    def rows(self, instances: list[Any]) -> Rows:
        """Rows of parsed instances, shape [instances, features].

        Raises:
            InvalidBodyError: not valid instances.
        """
        try:
            valid = self._validate_batch({"instances": instances})
        except ValidationError as error:
            raise does_not_fit(error, self.listed_columns, batch=True) from None
        return self._rows(valid["instances"])

    def _rows(self, instances: list[dict[str, Any]]) -> Rows:
        flat = itertools.chain.from_iterable(map(dict.values, instances))
        if self._has_gaps:
            # Turns None into NaN, which `fromiter` does not.
            return np.array(list(flat), dtype=self._dtype).reshape(-1, self._width)
        count = len(instances) * self._width
        return np.fromiter(flat, dtype=self._dtype, count=count).reshape(-1, self._width)

    def _validated(self, body: bytes, *, batch: bool) -> tuple[Any, Any]:
        """The body as parsed and as validated."""
        validate = self._validate_batch if batch else self._validate_instance
        # Two steps, because pydantic otherwise copies the whole body into every error.
        try:
            parsed = from_json(body)
            return parsed, validate(parsed)
        except ValidationError as error:
            raise does_not_fit(error, self.listed_columns, batch=batch) from None
        except ValueError as error:
            raise not_json(body, error) from None

    def out_of_range(self, rows: Rows) -> list[str]:
        """Names of the features with a value that training has not seen, in any of ``rows``.

        These are numbers and datetimes outside the training range, unknown categories, and missing
        values of features that were never missing in training.
        """
        outside = self._outside(rows)
        if not self._never_missing:
            return outside
        missing = self._missing(rows)
        return sorted({*outside, *missing}, key=self._order.__getitem__) if missing else outside

    def _missing(self, rows: Rows) -> list[str]:
        """Names of the features that were never missing in training and are in any of ``rows``."""
        if len(rows) == 1:
            values = rows[0].tolist()
            return [
                name
                for position, name in self._never_missing
                if (value := values[position]) is None or value != value  # noqa: PLR0124 - NaN
            ]
        gaps = (is_missing(rows) if rows.dtype == object else np.isnan(rows)).any(axis=0).tolist()
        return [name for position, name in self._never_missing if gaps[position]]

    def _outside(self, rows: Rows) -> list[str]:
        """Names of the features with a value out of range or an unknown one, in any of ``rows``."""
        if self._ranges is None:
            return [
                name
                for (name, unseen), values in zip(self._checks, rows.T.tolist(), strict=True)
                if unseen(values)
            ]
        if len(rows) == 1:
            # A few comparisons in Python cost less than one array operation.
            lowest = highest = rows[0].tolist()
        else:
            # Unlike min and max they pass over NaN.
            lowest = np.fmin.reduce(rows).tolist()
            highest = np.fmax.reduce(rows).tolist()
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


def reject_repeated_keys(body: bytes, *, expected: int) -> None:
    """Refuse a valid body that has another number of strings than was parsed from it.

    JSON parsers keep the last of two equal keys and hide the client's mistake. The strings of a
    body are its keys and values. What a parser drops is at least a key. So the numbers are equal if
    and only if no key is repeated.
    """
    if has_strings(body, expected):
        return
    repeated: list[str] = []

    def note_repeated(pairs: list[tuple[str, Any]]) -> None:
        counts = collections.Counter(key for key, _ in pairs)
        repeated.extend(key for key, count in counts.items() if count > 1)

    json.loads(body, object_pairs_hook=note_repeated)
    raise repeated_keys(repeated)


def has_strings(body: bytes, expected: int) -> bool:
    """Whether valid JSON has so many strings: each has two quotation marks, not escaped."""
    return _quotation_marks(body) == 2 * expected


def strings_in(value: Any) -> int:
    """Strings in parsed JSON, keys among them; see `reject_repeated_keys`."""
    if isinstance(value, str):
        return 1
    if isinstance(value, dict):
        return len(value) + sum(map(strings_in, value.values()))
    if isinstance(value, list):
        return sum(map(strings_in, value))
    return 0


def _quotation_marks(body: bytes) -> int:
    """Quotation marks of valid JSON that begin or end a string."""
    if b"\\" not in body:
        return body.count(b'"')
    # Backslashes are in strings only, and the first of a run begins an escape sequence. Without the
    # pairs, one that is left before a quotation mark escapes it.
    body = body.replace(b"\\\\", b"")
    return body.count(b'"') - body.count(b'\\"')


def _listed(names: Sequence[str]) -> str:
    """Names for a message; of very many, the first."""
    shown = list(itertools.takewhile(lambda each: len(each) <= LONGEST_LIST, _joined(names)))
    text = shown[-1] if shown else names[0]
    rest = len(names) - max(1, len(shown))
    return f"{text} and {rest} more" if rest else text


def _joined(names: Sequence[str]) -> Iterator[str]:
    return itertools.accumulate(names, lambda text, name: f"{text}, {name}")


def _strings_of(features: Sequence[Feature]) -> Callable[[Sequence[dict[str, Any]]], int]:
    """What counts the keys and the string values of instances."""
    is_string = [
        feature.kind in ("text", "datetime")
        or (feature.kind == "category" and all(isinstance(each, str) for each in feature.values))
        for feature in features
    ]
    is_fixed = all(
        not feature.nullable and (known or feature.is_numeric)
        for feature, known in zip(features, is_string, strict=True)
    )
    each = len(features) + sum(is_string)
    if is_fixed:
        return lambda instances: each * len(instances)
    if all(feature.is_numeric for feature in features):
        return lambda instances: sum(map(len, instances))
    return lambda instances: sum(
        len(instance) + sum(type(value) is str for value in instance.values())
        for instance in instances
    )


def _ranges(features: Sequence[Feature]) -> list[tuple[str, float, float]] | None:
    """Name and range of each feature, if nothing else is known of any, and rows are floats."""
    if not all(feature.kind in ("number", "integer", "boolean") for feature in features):
        return None
    return [
        (
            feature.name,
            -math.inf if feature.minimum is None else feature.minimum,
            math.inf if feature.maximum is None else feature.maximum,
        )
        for feature in features
    ]


def _unseen_in(feature: Feature) -> Callable[[list[Any]], bool]:
    """What finds values of ``feature`` that training has not seen, among values of rows."""
    if feature.categories:
        known = {*feature.values, None}
        # Only NaN, which is a missing number, differs from itself.
        return lambda values: (
            not known.issuperset(values)
            and any(
                value not in known and value == value  # noqa: PLR0124
                for value in values
            )
        )
    low: Any = feature.minimum
    high: Any = feature.maximum
    if feature.earliest is not None and feature.latest is not None:
        # Of one form, in which the order of moments is that of strings.
        low, high = parse_datetime(feature.earliest), parse_datetime(feature.latest)
    if low is None or high is None:
        return lambda _: False
    return lambda values: any(
        value is not None and (value < low or value > high) for value in values
    )


def _adapters(card: ModelCard, max_rows: int) -> tuple[TypeAdapter[Any], TypeAdapter[Any]]:
    instance = instance_type(card.features, "Instance", f"One row for the model {card.name}.")
    instances: Any = Annotated[
        list[instance],  # type: ignore[valid-type]
        Field(
            min_length=1,
            max_length=max_rows,
            description=f"1 to {max_rows} rows, answered in the same order.",
            examples=[[card.example, card.example]],
        ),
    ]
    batch = object_type(
        "Batch", f"Several rows for the model {card.name}.", {"instances": instances}
    )
    return TypeAdapter(instance), TypeAdapter(batch)
