"""Every method's answers, and the status of everything that is refused."""

import asyncio
import re
from typing import cast

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.grpc.generated import open_inference_grpc_pb2 as pb2
from serve_app.grpc.rpcs import MAX_DETAILS_BYTES, SERVICE, Reply, Rpcs
from serve_app.inference import MicroBatcher, ModelCallError
from serve_app.model.card import ModelCard
from serve_app.protocols.use_case import UseCase
from tests.support.grpc_service import SETOSA, infer_request
from tests.support.iris_requests import MAX_ROWS

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


def call(rpcs: Rpcs, method: str, request: bytes) -> Reply:
    return asyncio.run(rpcs(method, request, None))


def inferred(rpcs: Rpcs, request: pb2.ModelInferRequest) -> pb2.ModelInferResponse:
    reply = call(rpcs, "ModelInfer", request.SerializeToString())
    assert reply.code is grpc.StatusCode.OK, reply.details
    response = pb2.ModelInferResponse()
    response.ParseFromString(reply.body)
    return response


def test_the_server_tells_of_itself(rpcs: Rpcs) -> None:
    """It is live, ready, and has a name and a version."""
    assert pb2.ServerLiveResponse.FromString(call(rpcs, "ServerLive", b"").body).live
    assert pb2.ServerReadyResponse.FromString(call(rpcs, "ServerReady", b"").body).ready
    found = pb2.ServerMetadataResponse.FromString(call(rpcs, "ServerMetadata", b"").body)
    assert found.name == "serve-app"
    assert found.version


@pytest.mark.parametrize("versioned", [True, False])
def test_the_model_tells_of_itself(rpcs: Rpcs, card: ModelCard, versioned: bool) -> None:
    """With its version and without: ready, a tensor for each column, and every output."""
    asked = {"name": card.name, "version": card.version if versioned else ""}
    ready = call(rpcs, "ModelReady", pb2.ModelReadyRequest(**asked).SerializeToString())
    assert pb2.ModelReadyResponse.FromString(ready.body).ready
    reply = call(rpcs, "ModelMetadata", pb2.ModelMetadataRequest(**asked).SerializeToString())
    found = pb2.ModelMetadataResponse.FromString(reply.body)
    assert (found.name, found.versions, found.platform) == (
        card.name,
        [card.version],
        "onnxruntime_onnx",
    )
    assert tuple(each.name for each in found.inputs) == card.feature_names
    assert {(each.datatype, tuple(each.shape)) for each in found.inputs} == {("FP64", (-1, 1))}
    assert [(each.name, each.datatype, list(each.shape)) for each in found.outputs] == [
        ("predict", "BYTES", [-1, 1]),
        ("predict_proba", "FP64", [-1, 3]),
    ]


@pytest.mark.parametrize("as_raw", [True, False])
def test_a_model_infers_as_it_is_asked(rpcs: Rpcs, card: ModelCard, as_raw: bool) -> None:
    """The answer has the request's id and form, the model's version, and the outputs by name."""
    request = infer_request(
        [SETOSA] * 2, as_raw=as_raw, outputs=["predict_proba", "predict"], id="mine"
    )
    answer = inferred(rpcs, request)
    assert (answer.model_name, answer.model_version, answer.id) == ("iris", card.version, "mine")
    assert [(each.name, list(each.shape)) for each in answer.outputs] == [
        ("predict_proba", [2, 3]),
        ("predict", [2, 1]),
    ]
    if as_raw:
        assert answer.raw_output_contents[1] == b"\x06\0\0\0setosa" * 2
    else:
        assert list(answer.outputs[1].contents.bytes_contents) == [b"setosa"] * 2
        assert sum(answer.outputs[0].contents.fp64_contents) == pytest.approx(2)
        assert not answer.raw_output_contents


def test_parameters_come_back(rpcs: Rpcs) -> None:
    """Those of how the request is written do not; a content type that is none is refused."""
    request = infer_request()
    request.parameters["trace"].string_param = "a"
    request.parameters["priority"].int64_param = 3
    request.parameters["content_type"].string_param = "np"
    answer = inferred(rpcs, request)
    assert {name: answer.parameters[name] for name in ("trace", "priority")} == {
        name: request.parameters[name] for name in ("trace", "priority")
    }
    assert "content_type" not in answer.parameters
    request.parameters["content_type"].string_param = "xml"
    refused = call(rpcs, "ModelInfer", request.SerializeToString())
    assert refused.code is INVALID
    assert "parameters.content_type: content types are" in refused.details


def test_tritons_best_classes_are_refused(rpcs: Rpcs) -> None:
    """An output that would be silently another one than was asked for."""
    request = infer_request(outputs=["predict"])
    request.outputs[0].parameters["classification"].int64_param = 0
    assert inferred(rpcs, request).outputs
    request.outputs[0].parameters["classification"].int64_param = 2
    refused = call(rpcs, "ModelInfer", request.SerializeToString())
    assert refused.code is INVALID
    assert "predict.parameters.classification: only 0 is known; got 2" in refused.details


def test_values_that_training_has_not_seen_are_named(rpcs: Rpcs) -> None:
    """In the metadata after the answer, as HTTP does in a header."""
    request = infer_request([[4.8, 3.0, 1.4, 99.0]]).SerializeToString()
    assert call(rpcs, "ModelInfer", request).trailers == (
        ("x-out-of-range-features", "petal_width"),
    )


@pytest.mark.parametrize(
    ("request_message", "code", "said"),
    [
        (infer_request(model_name="rose"), NOT_FOUND, "no model 'rose'; the model is 'iris'"),
        (infer_request(model_name=""), NOT_FOUND, "no model ''"),
        (infer_request(model_version="7"), NOT_FOUND, "no version '7'"),
        (infer_request(outputs=["transform"]), INVALID, "the model has predict, predict_proba"),
        (infer_request(outputs=["predict"] * 2), INVALID, "named twice"),
        (infer_request([[1.0, 2.0]]), INVALID, r"shape \[rows, 4\]"),
        (infer_request([[1.0, 2.0, 3.0, float("nan")]]), INVALID, r"petal_width\[0\]"),
        (infer_request([[1.0, 2.0, 1e99, 4.0]]), INVALID, r"petal_length\[0\]: .*got 1e\+99"),
        (
            infer_request([SETOSA] * (MAX_ROWS + 1)),
            INVALID,
            f"at most {MAX_ROWS * 4} elements; send fewer rows; got {MAX_ROWS * 4 + 4}",
        ),
        (pb2.ModelInferRequest(model_name="iris"), INVALID, "inputs"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(
    rpcs: Rpcs, request_message: pb2.ModelInferRequest, code: grpc.StatusCode, said: str
) -> None:
    """With field, problem and value."""
    reply = call(rpcs, "ModelInfer", request_message.SerializeToString())
    assert (reply.code, reply.body) == (code, b"")
    assert re.search(said, reply.details)


def test_a_message_that_is_too_long_is_not_parsed(rpcs: Rpcs, use_case: UseCase) -> None:
    """A proxy lets it through."""
    longest = use_case.settings.max_body_bytes
    assert call(rpcs, "ModelInfer", b"\xff" * longest).code is INVALID
    refused = call(rpcs, "ModelInfer", b"\xff" * (longest + 1))
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(longest) in refused.details


@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata"])
def test_another_model_is_not_found(rpcs: Rpcs, method: str) -> None:
    """And neither is another version; both requests have the same fields."""
    for name, version in (("rose", ""), ("iris", "7")):
        request = pb2.ModelReadyRequest(name=name, version=version)
        assert call(rpcs, method, request.SerializeToString()).code is NOT_FOUND


def test_details_fit_into_trailers(rpcs: Rpcs) -> None:
    """However long the value is that is refused, and whatever letters it has."""
    request = infer_request(outputs=["ж" * 5000]).SerializeToString()
    details = call(rpcs, "ModelInfer", request).details
    assert "ж" * 50 in details
    assert len(details.encode()) <= MAX_DETAILS_BYTES


def mutated(place: int, value: bytes) -> bytes:
    """A valid request with other bytes at one place."""
    valid: bytes = infer_request(outputs=["predict"]).SerializeToString()
    place %= len(valid)
    return valid[:place] + value + valid[place + len(value) :]


@given(
    method=st.sampled_from([each.name for each in SERVICE.methods]),
    request_bytes=st.binary(max_size=60)
    | st.builds(mutated, st.integers(0, 200), st.binary(max_size=3)),
)
def test_no_bytes_are_an_internal_error(rpcs: Rpcs, method: str, request_bytes: bytes) -> None:
    """Whatever is sent to whichever method is answered, not found or invalid."""
    reply = call(rpcs, method, request_bytes)
    assert reply.code in (grpc.StatusCode.OK, INVALID, NOT_FOUND), reply.details


def test_nothing_is_predicted_for_a_parameter_that_is_refused(
    use_case: UseCase, card: ModelCard
) -> None:
    """Not even counted: a refusal costs no call of the model."""
    called = []

    async def note(*arguments: object) -> None:
        called.append(arguments)

    watched = UseCase(card, use_case.engine, cast(MicroBatcher, note), use_case.settings)
    request = infer_request()
    request.parameters["content_type"].string_param = "xml"
    assert call(Rpcs(watched), "ModelInfer", request.SerializeToString()).code is INVALID
    assert not called


def test_a_failure_of_the_service_is_one(
    use_case: UseCase, card: ModelCard, log: pytest.LogCaptureFixture
) -> None:
    """INTERNAL without a word about the inside, which the log has."""

    async def fail(*_arguments: object) -> None:
        raise ModelCallError(0, 1, 1) from MemoryError("secret")

    broken = UseCase(card, use_case.engine, cast(MicroBatcher, fail), use_case.settings)
    reply = call(Rpcs(broken), "ModelInfer", infer_request().SerializeToString())
    assert reply.code is grpc.StatusCode.INTERNAL
    assert "secret" not in reply.details
    assert "secret" in log.text
