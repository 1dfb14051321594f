"""Messages of ModelInfer, to tensors and back.

Which field has the elements of which datatype: comments of ``InferTensorContents`` in
generated/open_inference_grpc.proto.
"""

from collections.abc import Iterator, Mapping, Sequence

from serve_app.grpc.generated import open_inference_grpc_pb2 as pb2
from serve_app.protocols import raw
from serve_app.protocols.columns import CONTENT_TYPES
from serve_app.protocols.tensors import (
    BYTES,
    Tensor,
    TensorError,
    Values,
    count_of,
    require_datatype,
    too_many,
    values_of,
)
from serve_app.protocols.v2_frames import OWN_PARAMETERS

CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""Fields of the elements, by datatype; FP16 has none and is always raw."""
CONTENT_TYPE, CLASSIFICATION = "content_type", "classification"


def inputs_of(request: pb2.ModelInferRequest, *, most_elements: int) -> Iterator[Tensor]:
    """The input tensors of a request.

    Args:
        request: the message.
        most_elements: of a tensor; one with more is refused before any is read.

    Raises:
        TensorError: elements that are no such tensors, or are given in two ways.
    """
    raws = request.raw_input_contents
    if raws and len(raws) != len(request.inputs):
        message = f"has a part for each of the {len(request.inputs)} inputs"
        raise TensorError("raw_input_contents", message, len(raws))
    for place, each in enumerate(request.inputs):
        field = each.name or f"inputs[{place}]"
        datatype = require_datatype(each.datatype, f"{field}.datatype")
        shape = tuple(each.shape)
        if (count := count_of(shape, field)) > most_elements:
            raise too_many(count, most_elements, f"{field}.shape")
        # Beside raw elements, MLServer's client sends contents without any.
        if not raws:
            values = _typed(each, datatype, shape, field)
        elif each.HasField("contents") and each.contents.ListFields():
            raise TensorError(f"{field}.contents", "must not be given beside raw_input_contents")
        else:
            values = raw.read(raws[place], datatype, shape, field)
        yield Tensor(
            each.name, datatype, shape, values, _content_type(each.parameters, f"{field}.")
        )


def outputs_of(request: pb2.ModelInferRequest) -> list[str]:
    """Names of the outputs that a request asks for.

    Raises:
        TensorError: an output in a form that there is not: Triton's best classes.
    """
    for each in request.outputs:
        if CLASSIFICATION in each.parameters and each.parameters[CLASSIFICATION].int64_param:
            field = f"{each.name}.parameters.{CLASSIFICATION}"
            raise TensorError(field, "only 0 is known", each.parameters[CLASSIFICATION].int64_param)
    return [each.name for each in request.outputs]


def repeat_parameters(request: pb2.ModelInferRequest, response: pb2.ModelInferResponse) -> None:
    """Put the parameters of a request into its answer, but for those of how it is written.

    Raises:
        TensorError: a content type that is none.
    """
    for name, value in request.parameters.items():
        if name not in OWN_PARAMETERS:
            response.parameters[name].CopyFrom(value)
    content_type = _content_type(request.parameters)
    if content_type not in (None, *CONTENT_TYPES):
        expected = f"content types are {', '.join(CONTENT_TYPES)}"
        raise TensorError(f"parameters.{CONTENT_TYPE}", expected, content_type)


def _content_type(parameters: Mapping[str, pb2.InferParameter], within: str = "") -> str | None:
    """The content type; an empty text is none, as protobuf cannot tell them apart.

    Args:
        parameters: of a request, or of a tensor.
        within: before the name of the field.

    Raises:
        TensorError: it is no text.
    """
    if CONTENT_TYPE not in parameters:
        return None
    parameter = parameters[CONTENT_TYPE]
    kind = parameter.WhichOneof("parameter_choice")
    if kind not in (None, "string_param"):
        raise TensorError(f"{within}parameters.{CONTENT_TYPE}", "goes into string_param", kind)
    return parameter.string_param or None


def _typed(
    tensor: pb2.ModelInferRequest.InferInputTensor,
    datatype: str,
    shape: Sequence[int],
    field: str,
) -> Values:
    name = CONTENTS.get(datatype)
    if name is None:
        raise TensorError(field, f"{datatype} goes into raw_input_contents only")
    for other, _ in tensor.contents.ListFields():
        if other.name != name:
            raise TensorError(f"{field}.contents", f"{datatype} goes into {name}", other.name)
    return values_of(list(getattr(tensor.contents, name)), datatype, shape, field)


def add_outputs(
    response: pb2.ModelInferResponse, tensors: Sequence[Tensor], *, as_raw: bool
) -> None:
    """Add the output tensors to an answer.

    Args:
        response: the answer.
        tensors: the outputs.
        as_raw: whether their elements go into ``raw_output_contents``.
    """
    for each in tensors:
        added = response.outputs.add(name=each.name, datatype=each.datatype, shape=each.shape)
        if each.content_type is not None:
            added.parameters[CONTENT_TYPE].string_param = each.content_type
        if as_raw:
            response.raw_output_contents.append(raw.write(each))
        else:
            getattr(added.contents, CONTENTS[each.datatype]).extend(_elements(each))


def _elements(tensor: Tensor) -> Values:
    if tensor.datatype != BYTES:
        return tensor.values
    return [each.encode() if isinstance(each, str) else each for each in tensor.values]
