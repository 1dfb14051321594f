"""The form in which each server is asked and answers: the same rows, in messages of its own.

`serve_app.client` speaks the form of this project only.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from bench.messages import Answer, Request
from bench.models import BenchModel
from bench.transports import HTTP, Transport
from serve_app.model.tasks import keys_of


class Dialect(Protocol):
    """The form of requests and answers of a server."""

    transport: Transport

    def request(
        self, model: BenchModel, instances: Sequence[dict[str, Any]], address: str
    ) -> Request:
        """A request for some rows, to the server at ``address``."""
        ...

    def answers(self, model: BenchModel, answer: Answer) -> list[dict[str, Any]]:
        """Class and probabilities of each row, as this project's services answer them."""
        ...


class JsonDialect(ABC):
    """A POST of a JSON document, answered by another."""

    transport: Transport = HTTP

    def request(
        self, model: BenchModel, instances: Sequence[dict[str, Any]], address: str
    ) -> Request:
        """See `Dialect.request`."""
        path, document = self.document(model, instances)
        return Request(f"{address}{path}", json.dumps(document, separators=(",", ":")).encode())

    def answers(self, model: BenchModel, answer: Answer) -> list[dict[str, Any]]:
        """See `Dialect.answers`."""
        return self.read(model, json.loads(answer.body))

    @abstractmethod
    def document(self, model: BenchModel, instances: Sequence[dict[str, Any]]) -> tuple[str, Any]:
        """Path and document of a request for some rows."""

    @abstractmethod
    def read(self, model: BenchModel, answer: Any) -> list[dict[str, Any]]:
        """Class and probabilities of each row, from the document of an answer."""


class OwnDialect(JsonDialect):
    """That of this project, which the predecessor and its tuned form have too."""

    def document(self, model: BenchModel, instances: Sequence[dict[str, Any]]) -> tuple[str, Any]:
        """See `JsonDialect.document`."""
        del model
        if len(instances) == 1:
            return "/predict/", instances[0]
        return "/predict/batch/", {"instances": list(instances)}

    def read(self, model: BenchModel, answer: Any) -> list[dict[str, Any]]:
        """See `JsonDialect.read`."""
        del model
        found: list[dict[str, Any]] = answer.get("predictions", [answer])
        return found


class OpenInference(JsonDialect):
    """The Open Inference Protocol over REST, version 2, as MLServer speaks it.

    An estimator that takes an array gets one tensor, else one input for each column.
    """

    def document(self, model: BenchModel, instances: Sequence[dict[str, Any]]) -> tuple[str, Any]:
        """See `JsonDialect.document`."""
        wanted = {"outputs": [{"name": "predict_proba"}]}
        path = f"/v2/models/{model.name}/infer"
        if model.takes_frame:
            inputs = [_column(name, instances) for name in model.card.feature_names]
            return path, {"parameters": {"content_type": "pd"}, "inputs": inputs, **wanted}
        values = [value for instance in instances for value in instance.values()]
        shape = [len(instances), len(model.card.features)]
        tensor = {"name": "rows", "datatype": "FP64", "shape": shape, "data": values}
        return path, {"inputs": [tensor], **wanted}

    def read(self, model: BenchModel, answer: Any) -> list[dict[str, Any]]:
        """See `JsonDialect.read`."""
        (output,) = answer["outputs"]
        count, classes = output["shape"]
        values = output["data"]
        rows = [values[row * classes : (row + 1) * classes] for row in range(count)]
        return [most_probable(model, row) for row in rows]


class RowsOfApi(JsonDialect):
    """That of the services that `bench` has for peers: an API for each model, which takes rows."""

    def document(self, model: BenchModel, instances: Sequence[dict[str, Any]]) -> tuple[str, Any]:
        """See `JsonDialect.document`."""
        return f"/{model.name}", {"rows": _rows(model, instances)}

    def read(self, model: BenchModel, answer: Any) -> list[dict[str, Any]]:
        """See `JsonDialect.read`."""
        return [most_probable(model, row) for row in answer]


class ProtocolV1(JsonDialect):
    """The protocol of TensorFlow Serving, as KServe speaks it: version 1."""

    def document(self, model: BenchModel, instances: Sequence[dict[str, Any]]) -> tuple[str, Any]:
        """See `JsonDialect.document`."""
        return f"/v1/models/{model.name}:predict", {"instances": _rows(model, instances)}

    def read(self, model: BenchModel, answer: Any) -> list[dict[str, Any]]:
        """See `JsonDialect.read`."""
        return [most_probable(model, row) for row in answer["predictions"]]


class Invocations(JsonDialect):
    """That of MLflow's scoring server, which has one model: an array, or a DataFrame in parts."""

    def document(self, model: BenchModel, instances: Sequence[dict[str, Any]]) -> tuple[str, Any]:
        """See `JsonDialect.document`."""
        values = [list(each.values()) for each in instances]
        if not model.takes_frame:
            return "/invocations", {"inputs": values}
        frame = {"columns": list(model.card.feature_names), "data": values}
        return "/invocations", {"dataframe_split": frame}

    def read(self, model: BenchModel, answer: Any) -> list[dict[str, Any]]:
        """See `JsonDialect.read`."""
        return [most_probable(model, row) for row in answer["predictions"]]


def most_probable(model: BenchModel, probabilities: Sequence[float]) -> dict[str, Any]:
    """The answer of a server that gives probabilities only."""
    classes, best = model.classes, probabilities.index(max(probabilities))
    return {
        "predicted_class": classes[best],
        "probabilities": dict(zip(keys_of(classes), probabilities, strict=True)),
    }


def _rows(model: BenchModel, instances: Sequence[dict[str, Any]]) -> list[Any]:
    """Records where the estimator takes a DataFrame, else arrays."""
    return list(instances) if model.takes_frame else [list(each.values()) for each in instances]


def _column(name: str, instances: Sequence[dict[str, Any]]) -> dict[str, Any]:
    values = [instance[name] for instance in instances]
    tensor = {"name": name, "shape": [len(values), 1], "data": values}
    if any(isinstance(value, str) for value in values):
        return {**tensor, "datatype": "BYTES", "parameters": {"content_type": "str"}}
    return {**tensor, "datatype": "FP64"}
