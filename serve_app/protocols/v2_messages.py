"""Messages of V2 over REST: a request from a body, and an answer from tensors.

Source: "Inference" in inference_rest.md of https://github.com/kserve/open-inference-protocol, and
"Binary Tensor Data Extension" of Triton's protocol documents.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from serve_app.model.predictor import Rows
from serve_app.protocols import raw
from serve_app.protocols.answers import BINARY_TYPE, INFERENCE_HEADER, Answer, Headers, json_answer
from serve_app.protocols.columns import TensorSchema
from serve_app.protocols.one_row import OneRow
from serve_app.protocols.repeated_keys import reject_repeated_keys
from serve_app.protocols.tensors import BYTES, Tensor, TensorError, values_of
from serve_app.protocols.v2_frames import Frame, FrameReader
from serve_app.protocols.v2_types import InputHead

MAX_DIGITS = 19
"""Of a length: Python refuses to convert thousands of digits."""
HEADER = INFERENCE_HEADER.decode().title()


class Reader:
    """Reads requests.

    Args:
        tensors: validates tensors against the model's columns.
        one_row: chooses the function that reads a usual row.
    """

    def __init__(self, tensors: TensorSchema, one_row: OneRow) -> None:
        self._tensors = tensors
        self._frames = FrameReader(tensors, one_row)

    def read(self, body: bytes, head: bytes | None) -> tuple[Frame, Rows]:
        """What a request asks for, and the rows that it has.

        Args:
            body: JSON, and after it the tensors in bytes, if there are any.
            head: the length of the JSON, as the header says; None if all of the body is.

        Raises:
            InvalidBodyError: no JSON, or not of this form.
            TensorError: a tensor or an output that is none.
        """
        size = len(body) if head is None else _length(head, body)
        text = body if size == len(body) else body[:size]
        frame, arrays, has_unique_keys = self._frames.read(text)
        if head is None and has_unique_keys and frame.read_row is not None:
            rows = frame.read_row(arrays)
            if rows is not None:
                return frame, rows
        binary = None if head is None else memoryview(body)[size:]
        tensors = list(_tensors(frame.inputs, arrays, binary))
        if not has_unique_keys:
            # Now the elements are known to be numbers, or strings.
            in_arrays = sum(_strings_of(*each) for each in zip(tensors, arrays, strict=True))
            reject_repeated_keys(text, expected=frame.strings + in_arrays)
        return frame, self._tensors.rows(tensors)


def _strings_of(tensor: Tensor, array: Any) -> int:
    if array is None or tensor.datatype != BYTES:
        return 0
    return sum(value is not None for value in tensor.values)


def _tensors(
    inputs: Sequence[InputHead], arrays: Sequence[Any], binary: memoryview | None
) -> Iterator[Tensor]:
    end = 0
    for place, (entry, data) in enumerate(zip(inputs, arrays, strict=True)):
        name, datatype, shape, content_type, size, _ = entry
        try:
            if size is None:
                values = values_of(data, datatype, shape, ".data")
            else:
                start, end = end, end + size
                values = raw.read(_part(binary, start, size), datatype, shape, " in bytes")
        except TensorError as error:
            raise error.within(f"inputs[{place}]") from None
        yield Tensor(name, datatype, shape, values, content_type)
    if binary is not None and end != len(binary):
        raise TensorError("body", f"{len(binary) - end} bytes follow the last tensor")


def _part(binary: memoryview | None, start: int, size: int) -> memoryview:
    """Bytes of a tensor."""
    place = ".parameters.binary_data_size"
    if binary is None:
        raise TensorError(place, f"needs the header {HEADER}", size)
    if size > len(binary) - start:
        raise TensorError(place, f"beyond the {len(binary) - start} bytes that are left", size)
    return binary[start : start + size]


def _length(head: bytes, body: bytes) -> int:
    if not (head.isdigit() and len(head) <= MAX_DIGITS and int(head) <= len(body)):
        shown = head[:50].decode("latin-1")
        raise TensorError(HEADER, f"a length from 0 to that of the body, {len(body)}", shown)
    return int(head)


def answer_of(
    model: Mapping[str, Any], frame: Frame, tensors: Sequence[Tensor], headers: Headers
) -> Answer:
    """The answer to a request.

    Args:
        model: name and version, as the answer has them.
        frame: of the request.
        tensors: the outputs, in this order.
        headers: of the answer.
    """
    is_binary = frame.is_binary or [frame.all_binary] * len(tensors)
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
            output["data"] = tensor.values
        outputs.append(output)
    content = dict(model)
    if frame.id is not None:
        content["id"] = frame.id
    if frame.parameters:
        content["parameters"] = frame.parameters
    content["outputs"] = outputs
    if not parts:
        return json_answer(content, headers=headers)
    text = orjson.dumps(content)
    headers = (*headers, (INFERENCE_HEADER, b"%d" % len(text)))
    return Answer(b"".join((text, *parts)), 200, headers, BINARY_TYPE)
