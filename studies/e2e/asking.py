"""Ask a service in every protocol that it speaks, and compare the answers with ``/predict/``'s.

Its text also runs in a pod of the image (`studies.e2e.protocols`), so it imports nothing that the
image does not have.
"""

import json
import struct
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2 as health
from grpc_reflection.v1alpha import reflection_pb2 as reflected
from grpc_reflection.v1alpha import reflection_pb2_grpc

from loadtest.driver.dialects import Dialect, Grpc, Rest
from loadtest.driver.tensors import PREDICT, answers_of, columns_of, outputs_of, rows_of_output
from serve_app.grpc.generated import open_inference_grpc_pb2 as pb2
from serve_app.grpc.names import HEALTH
from serve_app.model.card import ModelCard

SECONDS = 20.0
SERVICE = pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
SERVER = "serve-app"
HEADER_LENGTH = "inference-header-content-length"
FORMATS = {"BOOL": "?", "INT64": "q", "FP64": "d"}
"""Of the elements of tensors, by datatype."""
PREFIX = struct.Struct("<I")
"""Length of an element of BYTES, before it."""

OutputRows = list[list[Any]]


class WrongAnswerError(Exception):
    """An answer that is not the right one."""


class Asking:
    """Asks about rows; every call raises what its answer deserves.

    Args:
        url: where HTTP is answered.
        channel: where gRPC is.
        rows: the rows.
    """

    def __init__(self, url: str, channel: grpc.Channel, rows: Sequence[Mapping[str, Any]]) -> None:
        self._url, self._channel, self._rows = url, channel, rows
        # Past any proxy, which is for other addresses.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        content = self._json("/model")
        self._card = ModelCard.model_validate({k: v for k, v in content.items() if k != "engine"})
        self._expected = [self._json("/predict/", row) for row in rows]
        self._model = f"/v2/models/{self._card.name}"
        self.calls: Mapping[str, Callable[[], None]] = {
            "V2, states": self._v2_states,
            "V2, metadata": self._v2_metadata,
            "V2 in JSON": self._v2_json,
            "V2 in bytes": self._v2_bytes,
            "V1": self._v1,
            "ServerLive": lambda: require(self._rpc("ServerLive").live, wanted=True),
            "ServerReady": lambda: require(self._rpc("ServerReady").ready, wanted=True),
            "ModelReady": self._model_ready,
            "ServerMetadata": lambda: require(self._rpc("ServerMetadata").name, SERVER),
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
            "ModelInfer, raw": self._infer_raw,
            "ModelInfer of another model": self._refused,
            "health": self._health,
            "reflection": self._reflection,
        }

    def _v2_states(self) -> None:
        paths = ("/v2/health/live", "/v2/health/ready", f"{self._model}/ready")
        for path in (*paths, f"{self._model}/versions/{self._card.version}/ready"):
            self._send(path)

    def _v2_metadata(self) -> None:
        require(self._json("/v2")["name"], SERVER)
        for path in (self._model, f"{self._model}/versions/{self._card.version}"):
            found = self._json(path)
            self._require_metadata(found["name"], found["versions"], found["inputs"])

    def _require_metadata(
        self, name: str, versions: Sequence[str], inputs: Sequence[Mapping[str, Any]]
    ) -> None:
        require([name, *versions], [self._card.name, self._card.version])
        require([each["name"] for each in inputs], list(self._card.feature_names))

    def _v2_json(self) -> None:
        dialect = Rest(self._card)
        path, body = dialect.request(self._rows)
        self._read(dialect, self._send(path, body)[1])

    def _v2_bytes(self) -> None:
        self._compare(answers_of(self._card.task, self._outputs_in_bytes()))

    def _outputs_in_bytes(self) -> dict[str, OutputRows]:
        """Outputs by the binary tensor extension, in both directions."""
        parts, inputs = [], []
        for column in columns_of(self._rows):
            parts.append(packed(column.datatype, column.values))
            about = {"binary_data_size": len(parts[-1]), "content_type": column.content_type}
            shape = [len(self._rows), 1]
            tensor = {"name": column.name, "datatype": column.datatype, "shape": shape}
            inputs.append({**tensor, "parameters": about})
        wanted = {"binary_data": True}
        outputs = [{"name": name, "parameters": wanted} for name in outputs_of(self._card.task)]
        head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
        given = {HEADER_LENGTH: str(len(head)), "content-type": "application/octet-stream"}
        headers, body = self._send(f"{self._model}/infer", b"".join((head, *parts)), given)
        end = int(headers[HEADER_LENGTH])
        answer, rest, found = json.loads(body[:end]), body[end:], {}
        for each in answer["outputs"]:
            about = each["parameters"]
            size, kind = about["binary_data_size"], about.get("content_type")
            values = unpacked(each["datatype"], rest[:size])
            found[each["name"]] = rows_of_output(values, each["shape"], kind)
            rest = rest[size:]
        require([answer["model_version"], rest], [self._card.version, b""])
        return found

    def _v1(self) -> None:
        path = f"/v1/models/{self._card.name}"
        require(self._json(path)["ready"], wanted=True)
        # The same that V2 calls `predict`, which is compared with /predict/.
        rows = self._outputs_in_bytes()[PREDICT]
        expected = [row[0] if len(row) == 1 else row for row in rows]
        arrays = [[row[name] for name in self._card.feature_names] for row in self._rows]
        for instances in (self._rows, arrays):
            answer = self._json(f"{path}:predict", {"instances": instances})
            require(answer["predictions"], expected)

    def _model_ready(self) -> None:
        found = self._rpc("ModelReady", name=self._card.name, version=self._card.version)
        require(found.ready, wanted=True)

    def _model_metadata(self) -> None:
        found = self._rpc("ModelMetadata", name=self._card.name)
        self._require_metadata(
            found.name, found.versions, [{"name": each.name} for each in found.inputs]
        )

    def _infer(self) -> None:
        dialect = Grpc(self._card)
        _, body = dialect.request(self._rows)
        self._read(dialect, self._call("ModelInfer", body))

    def _infer_raw(self) -> None:
        request = pb2.ModelInferRequest(model_name=self._card.name, id="7")
        for column in columns_of(self._rows):
            shape = [len(self._rows), 1]
            added = request.inputs.add(name=column.name, datatype=column.datatype, shape=shape)
            if column.content_type is not None:
                added.parameters["content_type"].string_param = column.content_type
            request.raw_input_contents.append(packed(column.datatype, column.values))
        for name in outputs_of(self._card.task):
            request.outputs.add(name=name)
        content = self._call("ModelInfer", request.SerializeToString())
        answer, found = pb2.ModelInferResponse.FromString(content), {}
        for each, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
            kind = each.parameters["content_type"].string_param
            found[each.name] = rows_of_output(unpacked(each.datatype, raw), each.shape, kind)
        require([answer.id, answer.model_version], ["7", self._card.version])
        self._compare(answers_of(self._card.task, found))

    def _refused(self) -> None:
        try:
            self._rpc("ModelInfer", model_name="nobody")
        except grpc.RpcError as error:
            require(error.code(), grpc.StatusCode.NOT_FOUND)
        else:
            raise WrongAnswerError("no error")

    def _health(self) -> None:
        call = self._channel.unary_unary(f"/{HEALTH}/Check")
        answer = call(health.HealthCheckRequest().SerializeToString(), timeout=SECONDS)
        found = health.HealthCheckResponse.FromString(answer)
        require(found.status, health.HealthCheckResponse.SERVING)

    def _reflection(self) -> None:
        stub = reflection_pb2_grpc.ServerReflectionStub(self._channel)
        asked = [reflected.ServerReflectionRequest(list_services="")]
        (answer,) = stub.ServerReflectionInfo(iter(asked), timeout=SECONDS)
        names = [each.name for each in answer.list_services_response.service]
        require(SERVICE.full_name in names, wanted=True)

    def _rpc(self, method: str, **fields: Any) -> Any:
        found = SERVICE.methods_by_name[method]
        request: Any = GetMessageClass(found.input_type)(**fields)
        answer: Any = GetMessageClass(found.output_type)
        return answer.FromString(self._call(method, request.SerializeToString()))

    def _call(self, method: str, request: bytes) -> bytes:
        call = self._channel.unary_unary(f"/{SERVICE.full_name}/{method}")
        answer: bytes = call(request, timeout=SECONDS)
        return answer

    def _json(self, path: str, content: Any = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        return json.loads(self._send(path, body)[1])

    def _send(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Mapping[str, str], bytes]:
        named = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(self._url + path, body, named)  # noqa: S310 - http only
        with self._opener.open(request, timeout=SECONDS) as answer:
            return answer.headers, answer.read()

    def _read(self, dialect: Dialect, content: bytes) -> None:
        answered = dialect.read(content)
        require(answered.version, self._card.version)
        self._compare(answered.predictions(self._card.task))

    def _compare(self, found: Sequence[Any]) -> None:
        require(len(found), len(self._expected))
        problems = map(self._card.task.problem_with, found, self._expected)
        require(next(filter(None, problems), None), None)


def require(found: object, wanted: object) -> None:
    """Check an answer.

    Raises:
        WrongAnswerError: it is another one.
    """
    if found != wanted:
        raise WrongAnswerError(f"{found}, not {wanted}")


def packed(datatype: str, values: Sequence[Any]) -> bytes:
    """Elements as bytes."""
    if datatype != "BYTES":
        return struct.pack(f"<{len(values)}{FORMATS[datatype]}", *values)
    texts = (value.encode() for value in values)
    return b"".join(PREFIX.pack(len(each)) + each for each in texts)


def unpacked(datatype: str, content: bytes) -> list[Any]:
    """Elements from bytes."""
    if datatype != "BYTES":
        return [value for (value,) in struct.iter_unpack(f"<{FORMATS[datatype]}", content)]
    found = []
    while content:
        (length,) = PREFIX.unpack_from(content)
        end = PREFIX.size + length
        found.append(content[PREFIX.size : end])
        content = content[end:]
    return found


def ask(url: str, address: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Ask about ``rows`` in every way.

    Args:
        url: where HTTP is answered.
        address: host and port where gRPC is.
        rows: the rows.

    Returns:
        What is wrong with the answer to each call; empty if nothing is.
    """
    with grpc.insecure_channel(address) as channel:
        return {name: _problem(call) for name, call in Asking(url, channel, rows).calls.items()}


def _problem(call: Callable[[], None]) -> str:
    try:
        call()
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))))
