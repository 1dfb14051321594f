"""Messages of V2 over REST: a request from a body, and an answer from tensors.

Source: "Inference" in inference_rest.md of https://github.com/kserve/open-inference-protocol, and
"Binary Tensor Data Extension" of Triton's protocol documents.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from serve_app.protocols import raw
from serve_app.protocols.answers import BINARY_TYPE, INFERENCE_HEADER, Answer, Headers, json_answer
from serve_app.protocols.columns import CONTENT_TYPES
from serve_app.protocols.errors import InvalidBodyError, not_a_message, not_json
from serve_app.protocols.schemas import reject_repeated_keys, strings_in
from serve_app.protocols.tensors import BYTES, Tensor, TensorError, too_many, values_of
from serve_app.protocols.v2_types import InferenceRequest, RequestInput, RequestOutput

MAX_DIGITS = 19
"""Of a length: Python refuses to convert thousands of digits."""
BINARY_OUTPUT = "binary_data_output"
OWN_PARAMETERS = frozenset(("content_type", BINARY_OUTPUT))
"""Parameters that say how the request itself is written: the answer does not repeat them."""
OTHER_FIELDS = ("id", "model_name", "model_version", "parameters", "outputs")
_NOTHING: Mapping[str, Any] = {}
HEADER = INFERENCE_HEADER.decode().title()


class Request(NamedTuple):
    """What a request asks for."""

    id: str | None
    inputs: list[Tensor]
    outputs: Sequence[str]
    """Names; empty if it asks for none."""
    is_binary: Sequence[bool]
    """Of each of them, whether it is to be in bytes."""
    all_binary: bool
    """The same for outputs that it did not ask for."""
    parameters: Mapping[str, Any]
    """Those that the answer repeats."""


class Reader:
    """Reads requests.

    Args:
        most_elements: of a tensor; one with more is refused before any is read.
    """

    def __init__(self, most_elements: int) -> None:
        self._most_elements = most_elements
        self._adapter = TypeAdapter(InferenceRequest)
        # Called thousands of times a second: TypeAdapter's own methods add 0.5 us.
        self._validate = self._adapter.validator.validate_json

    def read(self, body: bytes, head: bytes | None) -> Request:
        """A request from its body.

        Args:
            body: JSON, and after it the tensors in bytes, if there are any.
            head: the length of the JSON, as the header says; None if all of the body is.

        Raises:
            InvalidBodyError: no JSON, or not of this form.
            TensorError: a tensor that is none.
        """
        size = len(body) if head is None else _length(head, body)
        text = body if size == len(body) else body[:size]
        try:
            message: InferenceRequest = self._validate(text)
        except ValidationError as error:
            raise self._problem(text, error) from None
        binary = None if head is None else memoryview(body)[size:]
        inputs, end = [], 0
        for place, entry in enumerate(message["inputs"]):
            try:
                if (count := math.prod(entry["shape"])) > self._most_elements:
                    raise too_many(count, self._most_elements, ".shape")
                tensor, end = _tensor(entry, binary, end)
            except TensorError as error:
                raise error.within(f"inputs[{place}]") from None
            inputs.append(tensor)
        if binary is not None and end != len(binary):
            raise TensorError("body", f"{len(binary) - end} bytes follow the last tensor")
        reject_repeated_keys(text, expected=_strings(message, inputs))
        parameters, outputs = message.get("parameters"), message.get("outputs")
        all_binary, repeated = _understood(parameters) if parameters else (False, _NOTHING)
        if not outputs:
            return Request(message.get("id"), inputs, (), (), all_binary, repeated)
        return Request(
            message.get("id"),
            inputs,
            [output["name"] for output in outputs],
            [_is_binary(output, default=all_binary) for output in outputs],
            all_binary,
            repeated,
        )

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


def _length(head: bytes, body: bytes) -> int:
    if not (head.isdigit() and len(head) <= MAX_DIGITS and int(head) <= len(body)):
        shown = head[:50].decode("latin-1")
        raise TensorError(HEADER, f"a length from 0 to that of the body, {len(body)}", shown)
    return int(head)


def _tensor(entry: RequestInput, binary: memoryview | None, start: int) -> tuple[Tensor, int]:
    """The tensor, and where the bytes of the next one begin."""
    name, datatype, shape = entry["name"], entry["datatype"], tuple(entry["shape"])
    parameters: Mapping[str, Any] | None = entry.get("parameters")
    size, content_type = None, None
    if parameters:
        size, content_type = parameters.get("binary_data_size"), parameters.get("content_type")
    data = entry.get("data")
    if size is None:
        if data is None:
            raise TensorError("", "has neither data nor parameters.binary_data_size")
        values = values_of(data, datatype, shape, ".data")
        return Tensor(name, datatype, shape, values, content_type), start
    place = ".parameters.binary_data_size"
    if data is not None:
        raise TensorError("", "has both data and parameters.binary_data_size; keep one")
    if binary is None:
        raise TensorError(place, f"needs the header {HEADER}", size)
    if size > len(binary) - start:
        raise TensorError(place, f"beyond the {len(binary) - start} bytes that are left", size)
    values = raw.read(binary[start : start + size], datatype, shape, " in bytes")
    return Tensor(name, datatype, shape, values, content_type), start + size


def _strings(message: Mapping[str, Any], inputs: Sequence[Tensor]) -> int:
    """Strings that a request was parsed from, its keys among them."""
    total = len(message)
    for entry, tensor in zip(message["inputs"], inputs, strict=True):
        # Its keys, its name and its datatype. Numbers have no strings; lists of strings are flat.
        total += len(entry) + 2
        if parameters := entry.get("parameters"):
            total += strings_in(parameters)
        if tensor.datatype == BYTES and entry.get("data") is not None:
            total += sum(value is not None for value in tensor.values)
    if len(message) == 1:
        return total
    return total + sum(map(strings_in, map(message.get, OTHER_FIELDS)))


def _is_binary(output: RequestOutput, *, default: bool) -> bool:
    parameters: Mapping[str, Any] = output.get("parameters") or {}
    found = parameters.get("binary_data")
    return default if found is None else bool(found)


def _understood(parameters: Mapping[str, Any]) -> tuple[bool, Mapping[str, Any]]:
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


def answer_of(
    model: Mapping[str, Any], request: Request, tensors: Sequence[Tensor], headers: Headers
) -> Answer:
    """The answer to a request.

    Args:
        model: name and version, as the answer has them.
        request: what was asked for.
        tensors: the outputs, in this order.
        headers: of the answer.
    """
    is_binary = request.is_binary or [request.all_binary] * len(tensors)
    parts: list[bytes] = []
    outputs = []
    for tensor, in_bytes in zip(tensors, is_binary, strict=True):
        output: dict[str, Any] = {
            "name": tensor.name,
            "shape": tensor.shape,
            "datatype": tensor.datatype,
            "parameters": {"content_type": tensor.content_type},
        }
        if in_bytes:
            parts.append(raw.write(tensor))
            output["parameters"]["binary_data_size"] = len(parts[-1])
        else:
            values = tensor.values
            output["data"] = values if isinstance(values, list) else values.tolist()
        outputs.append(output)
    content = dict(model)
    if request.id is not None:
        content["id"] = request.id
    if request.parameters:
        content["parameters"] = request.parameters
    content["outputs"] = outputs
    if not parts:
        return json_answer(content, headers=headers)
    text = orjson.dumps(content)
    headers = (*headers, (INFERENCE_HEADER, b"%d" % len(text)))
    return Answer(b"".join((text, *parts)), 200, headers, BINARY_TYPE)
