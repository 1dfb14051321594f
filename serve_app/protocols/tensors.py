"""Tensors of the Open Inference Protocol (V2), whatever carries them.

Datatypes and the order of elements: "Tensor Data Types" and "Tensor Data" of the protocol's
specification, https://github.com/kserve/open-inference-protocol. Missing values follow MLServer's
codecs: ``null`` in JSON, NaN in numbers that have one.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serve_app.errors import excerpt
from serve_app.model.values import LARGEST_INTEGER

BYTES, BOOL, INT64, UINT64, FP64 = "BYTES", "BOOL", "INT64", "UINT64", "FP64"
FLOATS: Mapping[str, int] = {f"FP{bits}": bits for bits in (16, 32, 64)}
"""Datatypes of floating-point numbers, and their bits."""
DTYPES: Mapping[str, np.dtype[Any]] = {
    BOOL: np.dtype("?"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{name: np.dtype(f"<f{bits // 8}") for name, bits in FLOATS.items()},
}
"""Datatypes of elements that have one size; the only other datatype is ``BYTES``."""
DATATYPES = (*DTYPES, BYTES)
MAX_DIMENSIONS = 8
"""More than any request has that can be answered."""
LARGEST_DIMENSION = 2**63 - 1
ROUNDED = frozenset((LARGEST_INTEGER + 1, -LARGEST_INTEGER - 1))
"""Integers that are not valid, and that double precision rounds to valid ones."""
LONGEST_FIELD = 300
"""Characters of a field in a message: names of tensors are the client's."""

_NONE = type(None)
_STRINGS: frozenset[type] = frozenset((str, bytes, _NONE))
_NUMBERS: frozenset[type] = frozenset((float, int, _NONE))
_INTEGERS: frozenset[type] = frozenset((int, _NONE))
_BOOLEANS: frozenset[type] = frozenset((bool, int, _NONE))
_DOUBLE = np.dtype(np.float64)

Values = NDArray[Any] | list[Any]


class Tensor(NamedTuple):
    """One tensor of a request or of an answer."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Values
    """Flat and row-major, as many as ``shape`` says. An array, for ``BYTES`` a list of ``str`` or
    ``bytes``, with None for a missing value. Booleans and integers of which some are missing are an
    array of ``float64``, with NaN for these; numbers with one of `ROUNDED` an array of objects.
    Those of an answer are a list."""
    content_type: str | None = None
    """What MLServer's codecs say of the elements, such as ``str`` or ``pd_json``."""


class Metadata(NamedTuple):
    """What a model says of an input or an output."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    """-1 is a dimension of any size."""
    parameters: Mapping[str, Any]


_ABSENT = object()


class TensorError(Exception):
    """A tensor that cannot be taken: names the field, the problem and the value."""

    def __init__(self, field: str, message: str, value: Any = _ABSENT) -> None:
        got = "" if value is _ABSENT else f"; got {excerpt(repr(value)[:300])}"
        super().__init__(f"{field[:LONGEST_FIELD]}: {message}{got}")

    def within(self, place: str) -> "TensorError":
        """The same of a field that is within another."""
        self.args = (f"{place}{self}",)
        return self


def count_of(shape: Sequence[Any], field: str) -> int:
    """Number of elements of a tensor; exact, whatever the dimensions are.

    Raises:
        TensorError: a dimension is no integer, negative or out of range, or there are too many.
    """
    if len(shape) > MAX_DIMENSIONS:
        raise TensorError(field, f"at most {MAX_DIMENSIONS} dimensions", len(shape))
    count = 1
    for size in shape:
        # Not isinstance: to Python, booleans are integers.
        if type(size) is not int or not 0 <= size <= LARGEST_DIMENSION:
            raise TensorError(field, f"dimensions are integers from 0 to {LARGEST_DIMENSION}", size)
        count *= size
    return count


def too_many(count: int, most_elements: int, field: str) -> TensorError:
    """A tensor of ``count`` elements, which no valid request has."""
    return TensorError(field, f"at most {most_elements} elements; send fewer rows", count)


def require_datatype(datatype: Any, field: str) -> str:
    """``datatype``, if it is one.

    Raises:
        TensorError: it is none.
    """
    if datatype in DATATYPES:
        return str(datatype)
    raise TensorError(field, f"datatypes are {', '.join(DATATYPES)}", datatype)


def values_of(data: Any, datatype: str, shape: Sequence[int], field: str) -> Values:
    """Elements of a tensor from a list, flat or nested as ``shape`` says.

    Args:
        data: numbers, booleans, strings or bytes; None is a missing value.
        datatype: of the tensor.
        shape: of the tensor; its elements are counted before anything is made of them.
        field: place of the data, for messages.

    Raises:
        TensorError: no list, another number of elements than the shape has, or a value that the
            datatype cannot have.
    """
    count = count_of(shape, field)
    flat = _flat(data, shape, field)
    if len(flat) != count:
        raise TensorError(field, f"shape {list(shape)} has {count} elements", len(flat))
    if datatype == BYTES:
        _require_types(flat, _STRINGS, "BYTES takes strings", field)
        return flat
    return _numbers(flat, datatype, field)


def _flat(data: Any, shape: Sequence[int], field: str) -> list[Any]:
    if not isinstance(data, list):
        raise TensorError(field, "elements go into an array", data)
    if not data or not isinstance(data[0], list):
        return data
    for size in shape[1:]:
        for place, row in enumerate(data):
            if not isinstance(row, list) or len(row) != size:
                found = len(row) if isinstance(row, list) else row
                raise TensorError(f"{field}[{place}]", f"nested arrays have {size} elements", found)
        data = list(itertools.chain.from_iterable(data))
    return list(data)


def _require_types(flat: list[Any], types: frozenset[type], message: str, field: str) -> set[type]:
    """The types of the elements.

    Raises:
        TensorError: another type than ``types``.
    """
    # Not isinstance: to Python, booleans are integers.
    found = set(map(type, flat))
    if not found <= types:
        place = next(place for place, value in enumerate(flat) if type(value) not in types)
        raise TensorError(f"{field}[{place}]", message, flat[place])
    return found


def _numbers(flat: list[Any], datatype: str, field: str) -> NDArray[Any]:
    dtype = DTYPES[datatype]
    if dtype.kind == "f":
        found = _require_types(flat, _NUMBERS, f"{datatype} takes numbers", field)
        # Not of the datatype's own precision: 5.1 in JSON is 5.1 to every datatype.
        values = _array(flat, _DOUBLE, datatype, field)
        if int in found and not ROUNDED.isdisjoint(flat):
            # As they are: what a column of integers must not have, one of numbers may.
            return np.array(flat, dtype=object)
        return values
    if dtype.kind == "b":
        found = _require_types(flat, _BOOLEANS, "BOOL takes true and false", field)
        for place, value in enumerate(flat):
            if value not in (None, 0, 1):
                raise TensorError(f"{field}[{place}]", "BOOL takes true and false", value)
    else:
        found = _require_types(flat, _INTEGERS, f"{datatype} takes integers", field)
        limits = np.iinfo(dtype)
        low, high = int(limits.min), int(limits.max)
        if _NONE in found:
            # Beyond these, double precision would make others of them.
            low, high = max(low, -LARGEST_INTEGER), min(high, LARGEST_INTEGER)
        for place, value in enumerate(flat):
            if value is not None and not low <= value <= high:
                message = f"{datatype} takes integers from {low} to {high}"
                beside = " beside missing values" if _NONE in found else ""
                raise TensorError(f"{field}[{place}]", f"{message}{beside}", value)
    return _array(flat, _DOUBLE if _NONE in found else dtype, datatype, field)


def _array(flat: list[Any], dtype: np.dtype[Any], datatype: str, field: str) -> NDArray[Any]:
    try:
        return np.array(flat, dtype=dtype)
    except OverflowError:
        raise TensorError(field, f"an integer that {datatype} cannot hold") from None
