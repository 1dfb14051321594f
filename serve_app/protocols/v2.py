"""V2, the Open Inference Protocol, over REST, with the binary tensor extension.

Source: inference_rest.md of https://github.com/kserve/open-inference-protocol. Where it leaves a
choice, that of MLServer: docs/decisions/0020-open-inference-protocol.md.
"""

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from serve_app.protocols.answers import Answer, flagged, json_answer
from serve_app.protocols.described import Description, get, post, reference
from serve_app.protocols.one_row import OneRow
from serve_app.protocols.protocol import Describe, OneLineErrors, Predict
from serve_app.protocols.tensors import Metadata
from serve_app.protocols.turns import BINARY_SHARE
from serve_app.protocols.use_case import UseCase
from serve_app.protocols.v2_messages import Reader, answer_of
from serve_app.protocols.v2_openapi import (
    DESCRIPTION,
    REQUEST,
    request_example,
    request_schema,
)
from serve_app.telemetry.plain_spans import PlainContext

NAME = "v2"
SERVER, EXTENSIONS = "serve-app", ["binary_tensor_data"]
MODELS = "/v2/models"
PLATFORMS = {"onnx": "onnxruntime_onnx", "sklearn": "sklearn_joblib"}
"""``<project>_<format>``, by engine."""


class Translator(OneLineErrors):
    """Tensors in JSON and in bytes; see `serve_app.protocols.protocol.HttpProtocol`."""

    prefix = "/v2"
    takes_any_type = True

    def __init__(self, use_case: UseCase) -> None:
        self._use_case = use_case
        self._tensors = use_case.tensors
        one_row = OneRow(use_case.card.features, use_case.schema)
        self._reader = Reader(use_case.tensors, one_row)
        card = use_case.card
        self._name, self._version = card.name, card.version
        self._names = {card.version: "version", card.name: "model"}
        self._model = {"model_name": card.name, "model_version": card.version}
        model = f"{MODELS}/{card.name}"
        models = (model, f"{model}/versions/{card.version}")
        self.predictions: Mapping[str, Predict] = {f"{each}/infer": self._infer for each in models}
        server = {
            "name": SERVER,
            "version": metadata.version("serve-app"),
            "extensions": EXTENSIONS,
        }
        self.documents: Mapping[str, Describe] = {
            # Without a slash in the specification's text, with one in its OpenAPI file.
            **dict.fromkeys((self.prefix, f"{self.prefix}/"), _constant(server)),
            "/v2/health/live": _constant({"live": True}),
            "/v2/health/ready": _constant({"live": True, "ready": True}),
            **dict.fromkeys(models, _constant(self._describe())),
            **{f"{each}/ready": _constant({"name": card.name, "ready": True}) for each in models},
        }
        alias = f"{self.prefix}/"
        self._known = sorted({*self.documents, *self.predictions} - {alias})

    def describe(self) -> Description:
        """See `HttpProtocol.describe`."""
        card, tensors = self._use_case.card, self._tensors
        schema = request_schema(card, tensors.inputs, tensors.outputs)
        anything = {"type": "object"}
        content = {
            "schema": reference(REQUEST),
            "example": request_example(card, tensors.inputs),
        }
        summaries = {
            "/v2": "The server, V2",
            "/v2/health/live": "Whether the server is live, V2",
            "/v2/health/ready": "Whether the server is ready, V2",
        }
        paths: dict[str, Any] = {}
        for path in filter(self._known.__contains__, self.documents):
            own = "Whether the model is ready, V2" if path.endswith("/ready") else "The model, V2"
            summary = summaries.get(path, own)
            paths[path] = get(_operation(path, self._names), summary, anything)
        for path in self.predictions:
            paths[path] = post(
                _operation(path, self._names),
                "Predict tensors, V2",
                content,
                {"schema": anything},
                DESCRIPTION,
            )
        return Description(paths, {REQUEST: schema})

    def unknown(self, path: str) -> str | None:
        """Names the model or the version that is not served."""
        if path.startswith(f"{MODELS}/") and not self._is_served(path):
            return (
                f"No such model or version: {path[:100]!r}; this service has {self._name!r}, "
                f"version {self._version!r}"
            )
        return f"No such path: {path[:100]!r}; known: {', '.join(self._known)}"

    def _is_served(self, path: str) -> bool:
        """Whether ``path`` names this model and, if any, this version."""
        rest = f"{path}/".removeprefix(f"{MODELS}/{self._name}/")
        if rest == f"{path}/":
            return False
        return not rest.startswith("versions/") or rest.startswith(f"versions/{self._version}/")

    def _describe(self) -> dict[str, Any]:
        card, tensors = self._use_case.card, self._tensors
        return {
            "name": card.name,
            "versions": [card.version],
            "platform": PLATFORMS[self._use_case.engine],
            "inputs": list(map(_tensor_metadata, tensors.inputs)),
            "outputs": list(map(_tensor_metadata, tensors.outputs)),
            "parameters": {"content_type": "pd"},
        }

    async def _infer(self, body: bytes, parent: PlainContext | None, head: bytes | None) -> Answer:
        # Bytes are read several times as fast as JSON is.
        size = len(body) if head is None else len(body) // BINARY_SHARE
        await self._use_case.turn(size)
        frame, rows = self._reader.read(body, head)
        await self._use_case.turn(size)
        prediction, out_of_range = await self._use_case(rows, parent, NAME)
        tensors = self._tensors.results(prediction, frame.selection)
        return answer_of(self._model, frame, tensors, flagged(out_of_range))


def _operation(path: str, names: Mapping[str, str]) -> str:
    """Id of the operation on a path, in which the model and its version have no names."""
    for name, word in names.items():
        path = path.replace(f"/{name}", f"/{word}", 1)
    return path.strip("/").replace("/", "_")


def _constant(content: Any) -> Describe:
    answer = json_answer(content)
    return lambda: answer


def _tensor_metadata(tensor: Metadata) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": tensor.shape,
        "parameters": tensor.parameters,
    }
