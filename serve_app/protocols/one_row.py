"""One row of plain numbers in JSON, as most requests of V2 have: read in a few steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from serve_app.model.features import Feature
from serve_app.model.predictor import Rows
from serve_app.model.values import LARGEST_VALUE
from serve_app.protocols.tensors import FLOATS
from serve_app.protocols.v2_types import InputHead


class OneRow:
    """Reads a row of which there is nothing to say; all others are for `TensorSchema`.

    Args:
        features: the model's.
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        self._names = [feature.name for feature in features]
        self._columns = set(self._names)
        self._is_plain = all(feature.kind == "number" for feature in features)

    def order(self, inputs: Sequence[InputHead]) -> tuple[int, ...] | None:
        """Place of each column among the elements of ``inputs``.

        Returns:
            None unless these are one row of floating-point numbers: one tensor of shape
            [1, features], or a tensor for each column.
        """
        if not self._is_plain or not all(each.datatype in FLOATS for each in inputs):
            return None
        width = len(self._names)
        if len(inputs) == 1 and width > 1:
            return tuple(range(width)) if inputs[0].shape == (1, width) else None
        places = {each.name: place for place, each in enumerate(inputs)}
        if len(inputs) != width or places.keys() != self._columns:
            return None
        if not all(each.shape in ((1,), (1, 1)) for each in inputs):
            return None
        return tuple(map(places.__getitem__, self._names))

    @staticmethod
    def read(arrays: Sequence[list[Any]], order: Sequence[int]) -> Rows | None:
        """The row, of shape [1, features].

        Args:
            arrays: elements of each input, as they were written.
            order: of the columns among them.

        Returns:
            None if there is another number of elements, or one that is no number within the limits.
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
