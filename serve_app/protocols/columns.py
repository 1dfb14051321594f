"""Rows of a model from the tensors of a request."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from serve_app.model.card import ModelCard
from serve_app.model.features import Feature
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Rows
from serve_app.model.values import LARGEST_INTEGER, LARGEST_VALUE
from serve_app.protocols.inputs import input_metadata
from serve_app.protocols.results import Results, Selection
from serve_app.protocols.schemas import RequestSchema
from serve_app.protocols.tensors import (
    BOOL,
    ROUNDED,
    Metadata,
    Tensor,
    TensorError,
    Values,
)

CONTENT_TYPES = ("np", "pd", "str", "datetime", "pd_json", "json")
"""What MLServer's codecs say of elements, as far as it can be a column."""
JSON_TYPES = frozenset(("pd_json", "json"))
"""Each element is a JSON text: columns of a DataFrame that have several types."""
PLAIN_KINDS = frozenset(("number", "integer", "boolean"))
RANK_OF_A_MATRIX = 2
_NUMBER = f"a number of magnitude up to {LARGEST_VALUE:g}"
_INTEGER = f"an integer of magnitude up to {LARGEST_INTEGER}"
_BOOLEAN = "a boolean: true or false, or 1 or 0"


class TensorSchema:
    """Validates tensors against the card's features, as `RequestSchema` does JSON.

    A request has one tensor of shape [rows, features], its columns in the order of the card, or one
    tensor for each column by its name, of shape [rows] or [rows, 1]. A datatype is a means of
    transport: whole numbers of FP64 are integers, and 0 and 1 are booleans. A column that is left
    out, and null or NaN, are missing values.

    Args:
        card: the model's.
        schema: validates what is no plain number.
        max_rows: of a request.
    """

    def __init__(self, card: ModelCard, schema: RequestSchema, *, max_rows: int) -> None:
        self._features = card.features
        self._names = card.feature_names
        self._places = {name: place for place, name in enumerate(self._names)}
        self._schema = schema
        self._max_rows = max_rows
        self.most_elements = max_rows * len(self._features)
        """Of any tensor of a request: read no more of them."""
        self._is_plain = all(feature.kind in PLAIN_KINDS for feature in self._features)
        self._never_null = np.array([not feature.nullable for feature in self._features])
        self._integers, self._booleans = (
            [place for place, feature in enumerate(self._features) if feature.kind == kind]
            for kind in ("integer", "boolean")
        )
        self._only_numbers = self._is_plain and not (self._integers or self._booleans)
        self._results = Results(card)
        self.inputs = tuple(map(input_metadata, self._features))
        """One tensor for each column; the other form is not listed."""

    @property
    def outputs(self) -> tuple[Metadata, ...]:
        """Every output that can be asked for."""
        return self._results.metadata

    def selection(self, names: Sequence[str]) -> Selection:
        """The outputs that a request names; ``predict`` if it names none. Ask before predicting.

        Raises:
            TensorError: the model has no such output, or one is named twice.
        """
        return self._results.selection(names)

    def results(self, prediction: Prediction, selection: Selection) -> list[Tensor]:
        """The outputs of ``prediction``, in the order in which they were asked for."""
        return self._results.tensors(prediction, selection)

    def rows(self, inputs: Sequence[Tensor]) -> Rows:
        """Rows of shape [rows, features].

        Raises:
            TensorError: a wrong shape or value, or a column that is missing, unknown or repeated.
            InvalidBodyError: values that do not fit the card, found by `RequestSchema`.
        """
        if not inputs:
            raise TensorError("inputs", self._expected())
        for tensor in inputs:
            if tensor.content_type is not None and tensor.content_type not in CONTENT_TYPES:
                raise TensorError(
                    f"{tensor.name}.parameters.content_type",
                    f"content types are {', '.join(CONTENT_TYPES)}",
                    tensor.content_type,
                )
        if len(inputs) == 1 and self._is_matrix(inputs[0]):
            return self._of_matrix(inputs[0])
        return self._of_columns(inputs)

    def _is_matrix(self, tensor: Tensor) -> bool:
        width = len(self._names)
        has_width = len(tensor.shape) == RANK_OF_A_MATRIX and tensor.shape[1] == width
        return has_width and (width > 1 or tensor.name not in self._places)

    def _of_matrix(self, tensor: Tensor) -> Rows:
        count, width = tensor.shape
        self._require_count(count, tensor.name)
        if self._is_plain and not isinstance(tensor.values, list):
            if tensor.datatype == BOOL:
                for feature in self._features:
                    _require_fit(feature, tensor)
            _require_whole(tensor, bool(self._integers))
            return self._checked(np.array(tensor.values, dtype=np.float64).reshape(count, width))
        columns = [tensor.values[place::width] for place in range(width)]
        return self._validated([tensor._replace(values=each) for each in columns], count)

    def _of_columns(self, inputs: Sequence[Tensor]) -> Rows:
        columns: list[Tensor | None] = [None] * len(self._names)
        count = inputs[0].shape[0] if inputs[0].shape else 0
        for tensor in inputs:
            place = self._places.get(tensor.name)
            if place is None:
                raise TensorError("inputs", self._expected(), (tensor.name, list(tensor.shape)))
            if columns[place] is not None:
                raise TensorError("inputs", "a column is given twice", tensor.name)
            if tensor.shape not in ((count,), (count, 1)):
                raise TensorError(
                    f"{tensor.name}.shape",
                    "every column has the shape [rows] or [rows, 1], with as many rows",
                    list(tensor.shape),
                )
            columns[place] = tensor
        self._require_count(count, inputs[0].name)
        for feature, column in zip(self._features, columns, strict=True):
            if column is None and not feature.nullable:
                raise TensorError("inputs", f"the column {feature.name!r} is missing")
        if self._is_plain and not any(
            column is not None and isinstance(column.values, list) for column in columns
        ):
            return self._of_plain(columns, count)
        return self._validated(columns, count)

    def _of_plain(self, columns: Sequence[Tensor | None], count: int) -> Rows:
        rows = np.full((count, len(columns)), np.nan)
        for place, (feature, column) in enumerate(zip(self._features, columns, strict=True)):
            if column is not None:
                _require_fit(feature, column)
                _require_whole(column, feature.kind == "integer")
                rows[:, place] = column.values
        return self._checked(rows)

    def _checked(self, rows: NDArray[np.float64]) -> Rows:
        """Rows of plain numbers, each within its column's limits."""
        if self._only_numbers and _all_fit(rows):
            return rows
        missing = np.isnan(rows)
        self._require((np.abs(rows) <= LARGEST_VALUE) | missing, rows, _NUMBER)
        if self._never_null.any():
            self._require(~(missing & self._never_null), rows, "given; it must not be missing")
        if places := self._integers:
            part = rows[:, places]
            fits = (part == np.floor(part)) & (np.abs(part) <= LARGEST_INTEGER)
            self._require(fits | missing[:, places], part, _INTEGER, places)
        if places := self._booleans:
            part = rows[:, places]
            fits = (part == 0) | (part == 1)
            self._require(fits | missing[:, places], part, _BOOLEAN, places)
        return rows

    def _require(
        self, fits: NDArray[Any], values: Rows, message: str, places: Sequence[int] | None = None
    ) -> None:
        if fits.all():
            return
        row, column = (int(place[0]) for place in np.nonzero(~fits))
        name = self._names[column if places is None else places[column]]
        raise TensorError(f"{name}[{row}]", f"should be {message}", values[row, column].item())

    def _validated(self, columns: Sequence[Tensor | None], count: int) -> Rows:
        """Rows of any kind, checked as the rows of a JSON request are."""
        values = [
            [None] * count if column is None else _json_values(feature, column)
            for feature, column in zip(self._features, columns, strict=True)
        ]
        return self._schema.rows(
            [dict(zip(self._names, row, strict=True)) for row in zip(*values, strict=True)]
        )

    def _require_count(self, count: int, name: str) -> None:
        if not 1 <= count <= self._max_rows:
            raise TensorError(f"{name}.shape", f"1 to {self._max_rows} rows", count)

    def _expected(self) -> str:
        return (
            f"give one tensor of shape [rows, {len(self._names)}], or one of shape [rows] for each "
            f"of the columns {self._schema.listed_columns}"
        )


def _all_fit(rows: NDArray[np.float64]) -> bool:
    """Whether every value is a number within the limits, and none is missing."""
    if len(rows) == 1:
        # A few comparisons in Python cost less than one array operation.
        low, high = -LARGEST_VALUE, LARGEST_VALUE
        for value in rows[0].tolist():  # noqa: SIM110 - a generator costs twice as much
            if not low <= value <= high:
                return False
        return True
    return bool(np.abs(rows).max() <= LARGEST_VALUE)


def _require_fit(feature: Feature, tensor: Tensor) -> None:
    """A truth value is no number, in JSON either."""
    if tensor.datatype == BOOL and feature.kind != "boolean":
        raise TensorError(
            f"{tensor.name}.datatype", f"{feature.name!r} takes numbers, not BOOL", tensor.datatype
        )


def _require_whole(tensor: Tensor, is_integer: bool) -> None:  # noqa: FBT001
    """Integers beyond double precision would become others."""
    values = tensor.values
    if not is_integer or isinstance(values, list):
        return
    if values.dtype.kind in "iu":
        if values.dtype.itemsize < np.dtype(np.int64).itemsize:
            return
        fits = (values <= LARGEST_INTEGER) & (values >= -LARGEST_INTEGER)
    elif values.dtype == object:
        fits = np.array([value not in ROUNDED for value in values])
    else:
        return
    if not fits.all():
        place = int(np.flatnonzero(~fits)[0])
        raise TensorError(f"{tensor.name}[{place}]", f"should be {_INTEGER}", int(values[place]))


def _json_values(feature: Feature, tensor: Tensor) -> list[Any]:
    """Elements of a column as JSON would have them."""
    values: Values = tensor.values
    if isinstance(values, list):
        read: Callable[[Any], Any] = from_json if tensor.content_type in JSON_TYPES else _text
        found: list[Any] = []
        for row, value in enumerate(values):
            try:
                found.append(None if value is None else read(value))
            except ValueError as error:
                place = f"{feature.name}[{row}]"
                raise TensorError(place, f"should be text: {error}", value) from None
        return found
    listed = values.tolist()
    if tensor.datatype == BOOL:
        # Of which some may be missing: these are numbers by now, and must not pass for such.
        return [bool(value) if value in (0, 1) else None for value in listed]
    return as_json(feature, listed)


def as_json(feature: Feature, values: Sequence[Any]) -> list[Any]:
    """Values from an array of numbers as a JSON object would have them.

    Numbers of an array have one type: NaN is null, whole numbers of an integer column are integers,
    and 0 and 1 of a boolean one are false and true. What is no number stays what it is.
    """
    # Only NaN differs from itself.
    found = [None if value != value else value for value in values]  # noqa: PLR0124
    if feature.kind == "boolean" or {type(value) for value in feature.values} == {bool}:
        return [bool(value) if value in (0, 1) else value for value in found]
    if feature.kind == "integer":
        return [
            int(value) if type(value) is float and value.is_integer() else value for value in found
        ]
    return found


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
