"""Frames of V2's messages: the JSON of a request without the elements of its tensors.

A client writes the same frame with every request, and only the elements differ. So a frame is
validated once and kept; of the next request with it only the elements are read.
"""

import functools
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from serve_app.protocols.columns import CONTENT_TYPES, TensorSchema
from serve_app.protocols.errors import InvalidBodyError, not_a_message, not_json
from serve_app.protocols.one_row import OneRow, ReadRow
from serve_app.protocols.repeated_keys import has_strings, strings_in
from serve_app.protocols.results import Selection
from serve_app.protocols.tensors import TensorError, too_many
from serve_app.protocols.v2_types import InferenceRequest, InputHead, RequestInput, RequestOutput

BINARY_OUTPUT = "binary_data_output"
OWN_PARAMETERS = frozenset(("content_type", BINARY_OUTPUT))
"""Parameters that say how the request itself is written: the answer does not repeat them."""
OTHER_FIELDS = ("id", "model_name", "model_version", "parameters", "outputs")
SHARED_MEMORY = "shared_memory_region"
"""Parameter of Triton's clients for elements that are not sent."""
LONGEST_KEPT = 2 * 1024
"""Bytes of a message whose frame is kept. In a longer one, the elements take most of the time."""
MOST_KEPT = 64
"""Frames that are kept: a service has a few kinds of clients."""
_ARRAYS = re.compile(rb'"data":[ \t\n\r]*(\[(?:\s*\[[^][{]*\]\s*|[^][{]*)\])')
"""Elements of a tensor, flat or one row in an array of its own."""
_ID = re.compile(rb'"id":[ \t\n\r]*("[^"]*")')
_DATA_KEY, _ID_KEY = b'"data"', b'"id"'
_NO_ARRAY, _NO_ID = b'"data":[]', b'"id":""'
_NO_PARAMETERS: Mapping[str, Any] = {}


class Frame(NamedTuple):
    """What a message says, without the elements of its tensors."""

    id: str | None
    inputs: tuple[InputHead, ...]
    selection: Selection
    """Outputs that it asks for."""
    is_binary: tuple[bool, ...]
    """Whether each output that it names is to be in bytes; empty if it names none."""
    all_binary: bool
    """The same for all outputs, if it names none."""
    parameters: Mapping[str, Any]
    """Those that the answer repeats."""
    empty_arrays: int
    """Number of inputs whose ``data`` is an empty array."""
    strings: int
    """Number of strings, keys among them, without those of elements."""
    read_row: ReadRow | None
    """Reads the elements if these are one usual row in JSON; see `OneRow.reader`."""


Message = tuple[Frame, list[Any], bool]
"""The frame; the elements of each input as they were written, None for those in bytes; and whether
no key is repeated, False if that is still to be checked. No named tuple: it costs 0.2 us more."""


class FrameReader:
    """Reads messages, and keeps their frames.

    Args:
        tensors: limits the elements of a tensor, and finds the outputs that are asked for.
        one_row: chooses the function that reads a usual row.
    """

    def __init__(self, tensors: TensorSchema, one_row: OneRow) -> None:
        self._tensors = tensors
        self._one_row = one_row
        self._adapter = TypeAdapter(InferenceRequest)
        # Called thousands of times a second: TypeAdapter's own methods add 0.5 us.
        self._validate = self._adapter.validator.validate_json
        self._kept = functools.lru_cache(MOST_KEPT)(self._without_elements)

    def read(self, text: bytes) -> Message:
        """Read a message, by a frame that is kept if there is one.

        Args:
            text: the JSON; of a body with tensors in bytes, only what is before them.

        Raises:
            InvalidBodyError: not JSON, or not of the form of a request.
            TensorError: an input with too many elements, or with none; an unknown output.
        """
        # Behind a backslash, a quotation mark does not end a string.
        if len(text) <= LONGEST_KEPT and b"\\" not in text and (found := self._by_frame(text)):
            return found
        frame = self._frame(text)
        return frame, [each.data for each in frame.inputs], False

    def _by_frame(self, text: bytes) -> Message | None:
        """The message, read with a frame that is kept; None if the text must be read as a whole.

        Where JSON may have an empty array, it may have any array; the same holds for strings. So if
        the text is valid with empty ones, and arrays and a string were in their places, then the
        text itself is valid, and differs from it in nothing else.
        """
        ids: list[bytes] = []
        if _ID_KEY in text:
            # Some clients make an id for each request.
            text, ids = _without(text, _ID, _NO_ID)
            if len(ids) != text.count(_ID_KEY) or len(ids) > 1:
                return None
        text, arrays = _without(text, _ARRAYS, _NO_ARRAY)
        try:
            values = [from_json(each) for each in arrays]
            found_id = from_json(ids[0]) if ids else None
            frame = self._kept(text)
        except (InvalidBodyError, ValueError):
            # The refusal must quote the whole text.
            return None
        if frame.empty_arrays != len(values):
            return None
        if found_id is not None:
            if frame.id != "":
                return None
            frame = frame._replace(id=found_id)
        if len(values) < len(frame.inputs):
            found = iter(values)
            values = [next(found) if each.data == [] else each.data for each in frame.inputs]
        return frame, values, True

    def _without_elements(self, text: bytes) -> Frame:
        """The frame of a text with empty arrays.

        Raises:
            InvalidBodyError: not JSON, or not of the form of a request.
            TensorError: see `read`.
            ValueError: it has other data, or keys may be repeated.
        """
        # Such a text differs from request to request: kept, it would put out those that do not.
        if text.count(_DATA_KEY) != text.count(_NO_ARRAY):
            raise ValueError("data that was not found")
        frame = self._frame(text)
        if not has_strings(text, frame.strings):
            raise ValueError("strings that were not found")
        return frame

    def _frame(self, text: bytes) -> Frame:
        try:
            message: InferenceRequest = self._validate(text)
        except ValidationError as error:
            raise self._problem(text, error) from None
        inputs = tuple(self._head(*each) for each in enumerate(message["inputs"]))
        parameters, outputs = message.get("parameters"), message.get("outputs") or ()
        all_binary, repeated = _parameters(parameters) if parameters else (False, _NO_PARAMETERS)
        empty_arrays = sum(each.data == [] for each in inputs)
        return Frame(
            message.get("id"),
            inputs,
            self._tensors.selection([output["name"] for output in outputs]),
            tuple(_is_binary(output, default=all_binary) for output in outputs),
            all_binary,
            repeated,
            empty_arrays,
            _strings(message),
            self._one_row.reader(inputs) if empty_arrays == len(inputs) else None,
        )

    def _head(self, place: int, entry: RequestInput) -> InputHead:
        shape, size, content_type = entry["shape"], None, None
        if (count := math.prod(shape)) > self._tensors.most_elements:
            raise too_many(count, self._tensors.most_elements, f"inputs[{place}].shape")
        parameters: Mapping[str, Any] | None = entry.get("parameters")
        if parameters:
            size = parameters.get("binary_data_size")
            content_type = parameters.get("content_type")
        data = entry.get("data")
        if size is None and data is None:
            said = "has neither data nor parameters.binary_data_size"
            if parameters and SHARED_MEMORY in parameters:
                said = "is in shared memory, which this service does not read; send its elements"
            raise TensorError(f"inputs[{place}]", said)
        if size is not None and data is not None:
            raise TensorError(
                f"inputs[{place}]", "has both data and parameters.binary_data_size; keep one"
            )
        return InputHead(entry["name"], entry["datatype"], tuple(shape), content_type, size, data)

    def _problem(self, text: bytes, found: ValidationError) -> InvalidBodyError:
        """What is wrong with a message: not JSON, or not of its form."""
        # Two steps, because pydantic otherwise copies the whole body into every error.
        try:
            self._adapter.validate_python(from_json(text))
        except ValidationError as error:
            return not_a_message(error)
        except ValueError as error:
            return not_json(text, error)
        return not_a_message(found)


def _without(text: bytes, pattern: re.Pattern[bytes], instead: bytes) -> tuple[bytes, list[bytes]]:
    """``text`` with another text in each place of a pattern, and what its group matched there."""
    parts = pattern.split(text)
    return instead.join(parts[::2]), parts[1::2]


def _strings(message: Mapping[str, Any]) -> int:
    """Strings of a message, keys among them, without those of elements."""
    total = len(message)
    for entry in message["inputs"]:
        # Its keys, its name and its datatype.
        total += len(entry) + 2 + strings_in(entry.get("parameters"))
    return total + sum(map(strings_in, map(message.get, OTHER_FIELDS)))


def _is_binary(output: RequestOutput, *, default: bool) -> bool:
    parameters: Mapping[str, Any] = output.get("parameters") or {}
    found = parameters.get("binary_data")
    return default if found is None else bool(found)


def _parameters(parameters: Mapping[str, Any]) -> tuple[bool, Mapping[str, Any]]:
    """Whether outputs are to be in bytes, and the parameters that the answer repeats."""
    content_type, in_bytes = parameters.get("content_type"), parameters.get(BINARY_OUTPUT) or False
    if content_type not in (None, *CONTENT_TYPES):
        expected = f"content types are {', '.join(CONTENT_TYPES)}"
        raise TensorError("parameters.content_type", expected, content_type)
    if not isinstance(in_bytes, bool):
        raise TensorError(f"parameters.{BINARY_OUTPUT}", "true or false", in_bytes)
    repeated = {
        name: value
        for name, value in parameters.items()
        if name not in OWN_PARAMETERS and value is not None
    }
    return in_bytes, repeated
