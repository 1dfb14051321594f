"""Tensors in the messages of ModelInfer: every datatype, both ways, and nothing beyond them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.grpc import messages
from serve_app.grpc.generated import open_inference_grpc_pb2 as pb2
from serve_app.grpc.messages import CONTENTS, add_outputs, repeat_parameters
from serve_app.protocols.tensors import DATATYPES, DTYPES, Tensor, TensorError

MOST_ELEMENTS = 1000
VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "BYTES": [b"red", b""],
    **{name: [0, 100] for name in DTYPES if "INT" in name},
    **{name: [0.5, -2.0] for name in DTYPES if "FP" in name},
}


def inputs_of(request: pb2.ModelInferRequest) -> list[Tensor]:
    return list(messages.inputs_of(request, most_elements=MOST_ELEMENTS))


def request_of(datatype: str, *, as_raw: bool, **tensor: Any) -> pb2.ModelInferRequest:
    """A request with `VALUES`."""
    answer = pb2.ModelInferResponse()
    values: Any = VALUES[datatype]
    if datatype != "BYTES":
        values = np.array(values, dtype=DTYPES[datatype])
    add_outputs(answer, [Tensor("x", datatype, (2, 1), values)], as_raw=as_raw)
    (output,) = answer.outputs
    request = pb2.ModelInferRequest(raw_input_contents=answer.raw_output_contents)
    added = request.inputs.add(name="x", datatype=datatype, shape=output.shape, **tensor)
    if not as_raw:
        added.contents.CopyFrom(output.contents)
    return request


FORMS = [(name, True) for name in DATATYPES] + [(name, False) for name in CONTENTS]


@pytest.mark.parametrize(("datatype", "as_raw"), FORMS)
def test_a_tensor_arrives_as_it_was_sent(datatype: str, as_raw: bool) -> None:
    """Raw, and in a field except for FP16, which has none; an answer's tensor is a request's."""
    (tensor,) = inputs_of(request_of(datatype, as_raw=as_raw))
    assert (tensor.name, tensor.datatype, tensor.shape) == ("x", datatype, (2, 1))
    assert list(tensor.values) == VALUES[datatype]
    assert tensor.content_type is None


def test_contents_without_elements_may_stand_beside_raw_ones() -> None:
    """MLServer's client sends them so."""
    request = request_of("FP64", as_raw=True)
    request.inputs[0].contents.SetInParent()
    (tensor,) = inputs_of(request)
    assert list(tensor.values) == VALUES["FP64"]


def test_the_content_type_is_read_and_told() -> None:
    """MLServer's codecs say with it what the elements are."""
    request = request_of("BYTES", as_raw=True)
    request.inputs[0].parameters["content_type"].string_param = "str"
    (tensor,) = inputs_of(request)
    assert tensor.content_type == "str"
    answer = pb2.ModelInferResponse()
    add_outputs(answer, [tensor._replace(values=["rot", "grün"])], as_raw=False)
    assert answer.outputs[0].parameters["content_type"].string_param == "str"
    assert list(answer.outputs[0].contents.bytes_contents) == [b"rot", "grün".encode()]


def test_an_empty_content_type_is_none() -> None:
    """Of a tensor and of the request; with REST it is null."""
    request = request_of("BYTES", as_raw=True)
    for parameters in (request.parameters, request.inputs[0].parameters):
        parameters["content_type"].string_param = ""
    (tensor,) = inputs_of(request)
    assert tensor.content_type is None
    answer = pb2.ModelInferResponse()
    repeat_parameters(request, answer)
    assert not answer.parameters


def test_a_content_type_of_the_request_that_is_no_text_is_refused() -> None:
    """As it is over REST."""
    request = pb2.ModelInferRequest()
    request.parameters["content_type"].bool_param = False
    with pytest.raises(TensorError, match=r"parameters\.content_type: .*got 'bool_param'"):
        repeat_parameters(request, pb2.ModelInferResponse())


def _with(change: Any, datatype: str = "FP64", *, as_raw: bool = True) -> pb2.ModelInferRequest:
    request = request_of(datatype, as_raw=as_raw)
    change(request, request.inputs[0])
    return request


@pytest.mark.parametrize(
    ("request_message", "said"),
    [
        (_with(lambda r, t: r.raw_input_contents.append(b"")), r"raw_input_contents: .*got 2"),
        (_with(lambda r, t: t.contents.fp64_contents.append(1)), r"x\.contents: must not"),
        (_with(lambda r, t: r.inputs.add(name="y")), r"raw_input_contents: .* 2 inputs"),
        (_with(lambda r, t: setattr(t, "datatype", "FP128")), r"x\.datatype: .*'FP128'"),
        (_with(lambda r, t: t.Clear()), r"inputs\[0\]\.datatype: .*got ''"),
        (
            _with(lambda r, t: setattr(t.parameters["content_type"], "int64_param", 0)),
            r"x\.parameters\.content_type: .*got 'int64_param'",
        ),
        (_with(lambda r, t: t.shape.append(-1)), r"x: dimensions .*got -1"),
        (_with(lambda r, t: t.shape.extend([2**62] * 3)), r"x\.shape: at most 1000 elements"),
        (_with(lambda r, t: t.shape.append(500)), r"x: 1000 elements of FP64 have 8000 bytes"),
        (_with(lambda r, t: t.shape.extend([1] * 20)), r"x: at most 8 dimensions"),
        (_with(lambda r, t: t.shape.append(3), as_raw=False), r"x: shape .*got 2"),
        (
            _with(lambda r, t: t.shape.append(501)),
            r"x\.shape: at most 1000 elements; send fewer rows; got 1002",
        ),
        (
            _with(lambda r, t: t.shape.append(2**62), as_raw=False),
            r"x\.shape: at most 1000 .*got 9",
        ),
        (_with(lambda r, t: setattr(t, "datatype", "FP16"), as_raw=False), "raw_input_contents"),
        (_with(lambda r, t: setattr(t, "datatype", "FP32"), as_raw=False), "goes into fp32"),
        (_with(lambda r, t: t.contents.bool_contents.append(True), as_raw=False), "goes into"),
        (
            _with(lambda r, t: t.contents.int_contents.append(300), "INT8", as_raw=False),
            r"shape \[2, 1\] has 2 elements; got 3",
        ),
    ],
)
def test_a_tensor_that_is_none_is_refused(
    request_message: pb2.ModelInferRequest, said: str
) -> None:
    """The tensor or field is named, with what is wrong."""
    with pytest.raises(TensorError, match=said):
        inputs_of(request_message)


@given(
    raws=st.lists(st.binary(max_size=40), max_size=3),
    tensors=st.lists(
        st.builds(
            pb2.ModelInferRequest.InferInputTensor,
            name=st.sampled_from(["", "x"]),
            datatype=st.sampled_from([*DATATYPES, "", "fp64"]),
            shape=st.lists(st.integers(-1, 3) | st.integers(-(2**63), 2**63 - 1), max_size=3),
            contents=st.none()
            | st.builds(
                pb2.InferTensorContents,
                int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
                fp32_contents=st.lists(st.floats(width=32), max_size=4),
                bytes_contents=st.lists(st.binary(max_size=4), max_size=4),
            ),
        ),
        max_size=3,
    ),
)
def test_any_message_has_its_tensors_or_is_refused(
    raws: list[bytes], tensors: list[pb2.ModelInferRequest.InferInputTensor]
) -> None:
    """Every tensor has as many elements as its shape says; every other request is a TensorError."""
    request = pb2.ModelInferRequest(inputs=tensors, raw_input_contents=raws)
    try:
        found = inputs_of(request)
    except TensorError:
        return
    assert [len(each.values) for each in found] == [int(np.prod(each.shape)) for each in found]
