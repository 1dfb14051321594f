"""One row in JSON, as most requests of V2 have: read in a few steps.

A row that is read here is one that `TensorSchema` would take and make the same of. Where anything
is unusual or wrong, there is no row, and `TensorSchema` says what.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from serve_app.model.features import Feature
from serve_app.model.predictor import Rows
from serve_app.model.values import LARGEST_INTEGER, LARGEST_VALUE
from serve_app.protocols.schemas import RequestSchema
from serve_app.protocols.tensors import BOOL, BYTES, FLOATS, INT64
from serve_app.protocols.v2_types import InputHead

Arrays = Sequence[list[Any]]
"""Elements of each input, as they were written."""
ReadRow = Callable[[Arrays], Rows | None]
"""Makes a row of shape [1, features]; None if something is to be said of the elements."""

SHAPES = ((1,), (1, 1))
"""Of a column with one row."""
JSON_TEXT = ("pd_json", "json")
Types = Mapping[str, frozenset[type]]
"""Types that elements have if they mean what they are, by the datatypes that a column may have."""
_NOTHING = type(None)
_FLOATS: Types = {datatype: frozenset((float, int, _NOTHING)) for datatype in FLOATS}
_INTEGERS: Types = {INT64: frozenset((int, _NOTHING))}
_BOOLEANS: Types = {BOOL: frozenset((bool, _NOTHING))}
_STRINGS: Types = {BYTES: frozenset((str, _NOTHING))}


class _Column(NamedTuple):
    name: str
    types: frozenset[type]
    is_float: bool


class OneRow:
    """Finds how the row of a message is read.

    Args:
        features: the model's.
        schema: validates their values.
    """

    def __init__(self, features: Sequence[Feature], schema: RequestSchema) -> None:
        self._features = {feature.name: feature for feature in features}
        self._schema = schema
        self._only_numbers = all(feature.kind == "number" for feature in features)

    def reader(self, inputs: Sequence[InputHead]) -> ReadRow | None:
        """What reads the row of messages with such inputs.

        Returns:
            None unless these are one tensor of floating-point numbers, of shape [1, features], or a
            tensor of one row for each column, of the datatype that its kind has.
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
        if feature is None or head.content_type in JSON_TEXT:
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
