"""The Open Inference Protocol in bytes: our own translators read the requests and answer them."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.contestants import Contestant, WrongAnswerError
from bench.dialects import Dialect
from bench.messages import Answer
from bench.models import BATCH_ROWS, BenchModel
from bench.open_inference import BinaryOpenInference, GrpcOpenInference
from serve_app.grpc.generated import open_inference_grpc_pb2 as pb2
from serve_app.grpc.messages import add_outputs, inputs_of
from serve_app.grpc.names import MODEL_INFER
from serve_app.protocols.columns import TensorSchema
from serve_app.protocols.one_row import OneRow
from serve_app.protocols.schemas import RequestSchema
from serve_app.protocols.tensors import Tensor
from serve_app.protocols.v2_messages import Reader, answer_of


def output_of(model: BenchModel, rows: NDArray[Any]) -> Tensor:
    """The estimator's answer, if the rows are the model's."""
    assert rows.tolist() == model.rows[: len(rows)].tolist()
    found = [list(each["probabilities"].values()) for each in model.answers[: len(rows)]]
    values = np.array(found)
    return Tensor("predict_proba", "FP64", values.shape, values.reshape(-1).tolist(), None)


def binary(model: BenchModel, body: bytes, headers: dict[str, str]) -> Answer:
    """Answers as our service over REST."""
    head = headers["inference-header-content-length"].encode()
    schema = RequestSchema(model.card, max_rows=BATCH_ROWS)
    tensors = TensorSchema(model.card, schema, max_rows=BATCH_ROWS)
    frame, rows = Reader(tensors, OneRow(model.card.features, schema)).read(body, head)
    assert frame.selection == tensors.selection(["predict_proba"])
    found = answer_of({"model_name": model.name}, frame, [output_of(model, rows)], ())
    answered = {name.decode().lower(): value.decode() for name, value in found.headers}
    return Answer(found.body, answered)


def grpc(model: BenchModel, body: bytes, headers: dict[str, str]) -> Answer:
    """Answers as our service over gRPC."""
    assert not headers
    request, response = pb2.ModelInferRequest.FromString(body), pb2.ModelInferResponse()
    assert (request.model_name, request.outputs[0].name) == (model.name, "predict_proba")
    (found,) = inputs_of(request, most_elements=BATCH_ROWS * len(model.card.features))
    rows = np.asarray(found.values).reshape(found.shape)
    add_outputs(response, [output_of(model, rows)], as_raw=True)
    return Answer(response.SerializeToString())


@pytest.mark.parametrize("rows", [1, BATCH_ROWS])
@pytest.mark.parametrize(
    ("dialect", "path", "answer"),
    [
        (BinaryOpenInference(), "/v2/models/lr/infer", binary),
        (GrpcOpenInference(), MODEL_INFER, grpc),
    ],
)
def test_rows_are_asked_for_and_answers_read(
    dialect: Dialect,
    path: str,
    answer: Callable[[BenchModel, bytes, dict[str, str]], Answer],
    rows: int,
    models: dict[str, BenchModel],
) -> None:
    """Class and probabilities are the estimator's, one row and many."""
    model = models["lr"]
    request = dialect.request(model, model.instances[:rows], "http://one")
    assert request.url == f"http://one{path}"
    found = dialect.answers(model, answer(model, request.body, dict(request.headers)))
    assert [each["predicted_class"] for each in found] == [
        each["predicted_class"] for each in model.answers[:rows]
    ]
    assert [each["probabilities"] for each in found] == [
        pytest.approx(each["probabilities"]) for each in model.answers[:rows]
    ]


@pytest.mark.parametrize(
    ("dialect", "answer"),
    [
        (BinaryOpenInference(), Answer(b"{}", {})),
        (BinaryOpenInference(), Answer(b"{}", {"inference-header-content-length": "2"})),
        (
            BinaryOpenInference(),
            Answer(
                json.dumps({"outputs": [{"datatype": "FP64", "shape": [1, 3]}]}).encode() + b"12",
                {"inference-header-content-length": "54"},
            ),
        ),
        (GrpcOpenInference(), Answer(b"\xff")),
        (GrpcOpenInference(), Answer(b"")),
    ],
)
def test_another_form_is_no_answer(
    dialect: Any, answer: Answer, models: dict[str, BenchModel]
) -> None:
    """It is told as a wrong answer, whatever is missing in it."""

    class Canned:
        def exchange(self, _request: object) -> Answer:
            return answer

    dialect.transport = Canned()
    with pytest.raises(WrongAnswerError, match="one does not answer"):
        Contestant("one", "", models["lr"], dialect=dialect).ask()
