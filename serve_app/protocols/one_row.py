"""One row in JSON, as most requests of V2 have: read in a few steps.

`TensorSchema` would take every row that is read here, and make the same of it. What is unusual or
wrong is left to it.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from serve_app.model.features import Feature
from serve_app.model.predictor import Rows
from serve_app.model.values import LARGEST_INTEGER, LARGEST_VALUE
from serve_app.protocols.columns import JSON_TYPES
from serve_app.protocols.schemas import RequestSchema
from serve_app.protocols.tensors import BOOL, BYTES, FLOATS, INT64
from serve_app.protocols.v2_types import InputHead

Arrays = Sequence[list[Any]]
"""Elements of each input, as they were parsed."""
ReadRow = Callable[[Arrays], Rows | None]
"""Makes a row of shape [1, features] of elements; None if any is unusual or wrong."""

SHAPES = ((1,), (1, 1))
"""Shapes of a column with one row."""
Types = Mapping[str, frozenset[type]]
"""Types of parsed elements that are taken as they are, by the datatypes of a column."""
_NONE = type(None)
_FLOATS: Types = {datatype: frozenset((float, int, _NONE)) for datatype in FLOATS}
_INTEGERS: Types = {INT64: frozenset((int, _NONE))}
_BOOLEANS: Types = {BOOL: frozenset((bool, _NONE))}
_STRINGS: Types = {BYTES: frozenset((str, _NONE))}


class _Column(NamedTuple):
    """A column that an input has by its name."""

    name: str
    types: frozenset[type]
    is_float: bool


class OneRow:
    """Chooses the function that reads the row of a message.

    Args:
        features: the model's.
        schema: validates rows that are not of numbers alone.
    """

    def __init__(self, features: Sequence[Feature], schema: RequestSchema) -> None:
        self._features = {feature.name: feature for feature in features}
        self._schema = schema
        self._only_numbers = all(feature.kind == "number" for feature in features)

    def reader(self, inputs: Sequence[InputHead]) -> ReadRow | None:
        """The function that reads the row of messages with such inputs.

        Returns:
            None unless these are one tensor of floating-point numbers, of shape [1, features], or a
            tensor of one row for each column, of a datatype that its kind has.
        """
        width = len(self._features)
        if len(inputs) == 1 < width:
            is_row = inputs[0].datatype in FLOATS and inputs[0].shape == (1, width)
            if not is_row or not self._only_numbers:
                return None
            return functools.partial(_numbers, order=range(width))
        places = {each.name: place for place, each in enumerate(inputs)}
        if len(places) < len(inputs) or not all(each.shape in SHAPES for each in inputs):
            return None
        if places.keys() == self._features.keys() and self._only_numbers:
            if not all(each.datatype in FLOATS for each in inputs):
                return None
            return functools.partial(_numbers, order=[places[name] for name in self._features])
        columns = [self._column(each) for each in inputs]
        found = [column for column in columns if column is not None]
        return functools.partial(self._row, found) if len(found) == len(inputs) else None

    def _column(self, head: InputHead) -> _Column | None:
        feature = self._features.get(head.name)
        if feature is None or head.content_type in JSON_TYPES:
            return None
        types = _types_of(feature).get(head.datatype)
        return None if types is None else _Column(head.name, types, head.datatype in FLOATS)

    def _row(self, columns: Sequence[_Column], arrays: Arrays) -> Rows | None:
        instance: dict[str, Any] = {}
        for (name, types, is_float), array in zip(columns, arrays, strict=True):
            if len(array) != 1:
                return None
            value = array[0]
            kind = type(value)
            if kind not in types:
                return None
            if is_float and kind is int:
                # Beyond these, float() would round.
                if not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
                    return None
                value = float(value)
            instance[name] = value
        return self._schema.row(instance)


def _types_of(feature: Feature) -> Types:
    if feature.kind == "category":
        if not feature.is_numeric:
            return _STRINGS
        if any(isinstance(value, bool) for value in feature.values):
            return {}
        return {**_FLOATS, **_INTEGERS}
    if feature.kind == "number":
        return _FLOATS
    return {"integer": _INTEGERS, "boolean": _BOOLEANS}.get(feature.kind, _STRINGS)


def _numbers(arrays: Arrays, order: Sequence[int]) -> Rows | None:
    """A row of numbers, of which none is missing.

    Args:
        arrays: one for the row, flat or in an array of its own, or one for each column.
        order: place of each column among the elements.
    """
    if len(arrays) == 1:
        values = arrays[0]
        if len(values) == 1 < len(order) and type(values[0]) is list:
            (values,) = values
        if len(values) != len(order):
            return None
    else:
        if any(len(each) != 1 for each in arrays):
            return None
        values = [arrays[place][0] for place in order]
    low, high = -LARGEST_VALUE, LARGEST_VALUE
    for value in values:
        kind = type(value)
        # Not isinstance: to Python, booleans are integers.
        if (kind is not float and kind is not int) or not low <= value <= high:
            return None
    return np.array([values], dtype=np.float64)
