"""The Open Inference Protocol V2 in bytes: REST with its extension for binary tensors, and gRPC.

In JSON: `bench.dialects.OpenInference`. For models of numbers, whose rows are one tensor.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from bench.dialects import most_probable
from bench.messages import Answer, Request
from bench.models import BenchModel
from bench.transports import GRPC, HTTP, Transport
from serve_app.grpc.generated import open_inference_grpc_pb2 as pb2
from serve_app.grpc.names import MODEL_INFER
from serve_app.protocols.tensors import DTYPES

LENGTH_OF_JSON = "inference-header-content-length"
TENSOR, FLOATS, PROBABILITIES = "rows", "FP64", "predict_proba"


class BinaryOpenInference:
    """A POST with the tensor in bytes after the JSON, answered likewise."""

    transport: Transport = HTTP

    def request(
        self, model: BenchModel, instances: Sequence[dict[str, Any]], address: str
    ) -> Request:
        """See `Dialect.request`."""
        values = _table(instances)
        size = {"binary_data_size": values.nbytes}
        tensor = {"name": TENSOR, "datatype": FLOATS, "shape": values.shape, "parameters": size}
        output = {"name": PROBABILITIES, "parameters": {"binary_data": True}}
        head = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
        return Request(
            f"{address}/v2/models/{model.name}/infer",
            head + values.tobytes(),
            {"content-type": "application/octet-stream", LENGTH_OF_JSON: str(len(head))},
        )

    def answers(self, model: BenchModel, answer: Answer) -> list[dict[str, Any]]:
        """See `Dialect.answers`."""
        size = int(answer.headers[LENGTH_OF_JSON])
        (output,) = json.loads(answer.body[:size])["outputs"]
        return _read(model, output["datatype"], output["shape"], answer.body[size:])


class GrpcOpenInference:
    """A call of ModelInfer with the tensor in ``raw_input_contents``, as Triton's clients do."""

    transport: Transport = GRPC

    def request(
        self, model: BenchModel, instances: Sequence[dict[str, Any]], address: str
    ) -> Request:
        """See `Dialect.request`."""
        values = _table(instances)
        message = pb2.ModelInferRequest(model_name=model.name)
        message.inputs.add(name=TENSOR, datatype=FLOATS, shape=values.shape)
        message.outputs.add(name=PROBABILITIES)
        message.raw_input_contents.append(values.tobytes())
        return Request(f"{address}{MODEL_INFER}", message.SerializeToString(), {})

    def answers(self, model: BenchModel, answer: Answer) -> list[dict[str, Any]]:
        """See `Dialect.answers`."""
        try:
            message = pb2.ModelInferResponse.FromString(answer.body)
        except DecodeError as error:
            raise ValueError(str(error)) from error
        (output,), (found,) = message.outputs, message.raw_output_contents
        return _read(model, output.datatype, output.shape, found)


def constant_answer(model: BenchModel) -> bytes:
    """The message that answers the sample, as a service makes it."""
    values = np.array([list(model.answer["probabilities"].values())], dtype="<f8")
    message = pb2.ModelInferResponse(model_name=model.name, model_version=model.card.version)
    message.outputs.add(name=PROBABILITIES, datatype=FLOATS, shape=values.shape)
    message.raw_output_contents.append(values.tobytes())
    found: bytes = message.SerializeToString()
    return found


def _table(instances: Sequence[dict[str, Any]]) -> np.ndarray[Any, Any]:
    return np.array([list(each.values()) for each in instances], dtype="<f8")


def _read(
    model: BenchModel, datatype: str, shape: Sequence[int], found: bytes
) -> list[dict[str, Any]]:
    rows: list[list[float]] = np.frombuffer(found, DTYPES[datatype]).reshape(tuple(shape)).tolist()
    return [most_probable(model, row) for row in rows]
