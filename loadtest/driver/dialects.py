"""What a user sends and reads in each protocol; nothing of how it is sent."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from loadtest.driver.options import GRPC, NATIVE, V2
from loadtest.driver.tensors import (
    OutputRows,
    answers_of,
    columns_of,
    outputs_of,
    rows_of_output,
)
from serve_app.grpc.names import MODEL_INFER
from serve_app.model.card import ModelCard
from serve_app.model.tasks import Task

Instances = Sequence[Mapping[str, Any]]


class Answered(NamedTuple):
    """An answer, as far as it can be read without knowing the model."""

    version: str
    predictions: Callable[[Task], list[Any]]
    """In the form of ``/predict/``, once the task is known. Raises what an answer causes that is
    not of such a model: LookupError, TypeError, ValueError."""


class Dialect(Protocol):
    """A protocol."""

    def request(self, instances: Instances) -> tuple[str, bytes]:
        """Path and body of the request that predicts one row, or several."""
        ...

    def read(self, content: bytes) -> Answered:
        """Read an answer.

        Raises:
            AttributeError, LookupError, TypeError, ValueError: no answer of this protocol.
        """
        ...


class Native:
    """The service's own protocol."""

    def request(self, instances: Instances) -> tuple[str, bytes]:
        """See `Dialect.request`."""
        if len(instances) == 1:
            return "/predict/", orjson.dumps(instances[0])
        return "/predict/batch/", orjson.dumps({"instances": instances})

    def read(self, content: bytes) -> Answered:
        """See `Dialect.read`; of the two endpoints only the batch's answer has ``predictions``."""
        answer = orjson.loads(content)
        version = str(answer.pop("model_version"))
        predictions: list[Any] = answer.get("predictions", [answer])
        return Answered(version, lambda _task: predictions)


class Rest:
    """V2 over REST, in JSON, one tensor for each column."""

    def __init__(self, card: ModelCard) -> None:
        self._path = f"/v2/models/{card.name}/infer"
        self._outputs = [{"name": name} for name in outputs_of(card.task)]

    def request(self, instances: Instances) -> tuple[str, bytes]:
        """See `Dialect.request`."""
        inputs = [
            {
                "name": column.name,
                "shape": [len(instances), 1],
                "datatype": column.datatype,
                "data": column.values,
                "parameters": {"content_type": column.content_type},
            }
            for column in columns_of(instances)
        ]
        return self._path, orjson.dumps({"inputs": inputs, "outputs": self._outputs})

    def read(self, content: bytes) -> Answered:
        """See `Dialect.read`."""
        answer = orjson.loads(content)
        outputs = {
            each["name"]: rows_of_output(
                each["data"], each["shape"], each.get("parameters", {}).get("content_type")
            )
            for each in answer["outputs"]
        }
        return _answered(answer["model_version"], outputs)


class Grpc:
    """V2 over gRPC, with the elements in the fields of their types."""

    def __init__(self, card: ModelCard) -> None:
        from serve_app.grpc.generated import open_inference_grpc_pb2 as pb2
        from serve_app.grpc.messages import CONTENTS

        self._messages, self._contents = pb2, CONTENTS
        self._model = card.name
        self._outputs = outputs_of(card.task)

    def request(self, instances: Instances) -> tuple[str, bytes]:
        """See `Dialect.request`."""
        message = self._messages.ModelInferRequest(model_name=self._model)
        for column in columns_of(instances):
            tensor = message.inputs.add(
                name=column.name, datatype=column.datatype, shape=[len(instances), 1]
            )
            if column.content_type is not None:
                tensor.parameters["content_type"].string_param = column.content_type
            elements = getattr(tensor.contents, self._contents[column.datatype])
            elements.extend(
                each.encode() if isinstance(each, str) else each for each in column.values
            )
        for name in self._outputs:
            message.outputs.add(name=name)
        return MODEL_INFER, message.SerializeToString()

    def read(self, content: bytes) -> Answered:
        """See `Dialect.read`."""
        message = self._messages.ModelInferResponse.FromString(content)
        outputs = {
            each.name: rows_of_output(
                getattr(each.contents, self._contents[each.datatype]),
                each.shape,
                each.parameters["content_type"].string_param,
            )
            for each in message.outputs
        }
        return _answered(message.model_version, outputs)


def _answered(version: str, outputs: Mapping[str, OutputRows]) -> Answered:
    return Answered(version, lambda task: answers_of(task, outputs))


def make_dialect(protocol: str, card: ModelCard) -> Dialect:
    """The protocol of that name, for the model that the service announces."""
    makers: Mapping[str, Callable[[], Dialect]] = {
        NATIVE: Native,
        V2: lambda: Rest(card),
        GRPC: lambda: Grpc(card),
    }
    return makers[protocol]()
