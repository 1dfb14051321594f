"""What each RPC of the service answers, whatever server it came to.

The protocol: generated/open_inference_grpc.proto. Status codes:
https://grpc.github.io/grpc/core/md_doc_statuscodes.html
"""

from collections.abc import Awaitable, Callable, Mapping
from importlib import metadata
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import DecodeError, Message

from serve_app.grpc.generated import open_inference_grpc_pb2 as pb2
from serve_app.grpc.messages import add_outputs, inputs_of, outputs_of, repeat_parameters
from serve_app.protocols.answers import flagged
from serve_app.protocols.errors import InvalidBodyError
from serve_app.protocols.tensors import Metadata, TensorError
from serve_app.protocols.turns import BINARY_SHARE
from serve_app.protocols.use_case import UseCase
from serve_app.protocols.v2 import PLATFORMS, SERVER
from serve_app.settings import Settings
from serve_app.telemetry.plain_spans import PlainContext
from serve_app.telemetry.spans import within

SERVICE = pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
PROTOCOL = "v2-grpc"
MAX_DETAILS_BYTES = 2000
"""Clients take some kilobytes of trailers, in which each byte may become three."""

Answer = Callable[[Any, PlainContext | None], Awaitable[tuple[Message, "Trailers"]]]
Trailers = tuple[tuple[str, str], ...]


class Reply(NamedTuple):
    """What a call is answered."""

    body: bytes
    """The message; empty beside a status that is not OK."""
    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    trailers: Trailers = ()
    """Metadata after the message."""


class RpcError(Exception):
    """A call that is refused, with its status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code


class Rpcs:
    """The methods of the service, on one model.

    Args:
        use_case: validates and predicts.
    """

    def __init__(self, use_case: UseCase) -> None:
        self._use_case = use_case
        self._card = use_case.card
        self._answers: Mapping[str, tuple[type[Message], Answer]] = {
            "ServerLive": (pb2.ServerLiveRequest, self._server_live),
            "ServerReady": (pb2.ServerReadyRequest, self._server_ready),
            "ModelReady": (pb2.ModelReadyRequest, self._model_ready),
            "ServerMetadata": (pb2.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": (pb2.ModelMetadataRequest, self._model_metadata),
            "ModelInfer": (pb2.ModelInferRequest, self._model_infer),
        }

    @property
    def settings(self) -> Settings:
        """Limits of what is asked."""
        return self._use_case.settings

    @property
    def is_slow(self) -> bool:
        """Whether the last model call took long."""
        return self._use_case.is_slow

    async def __call__(self, rpc: str, request: bytes, parent: PlainContext | None) -> Reply:
        """Answer a call; every failure becomes a status.

        Args:
            rpc: name of the method.
            request: the message.
            parent: the request's span; None if it is not sampled.
        """
        kind, answer = self._answers[rpc]
        try:
            self._require_size(len(request))
            message, trailers = await answer(kind.FromString(request), parent)
            return Reply(message.SerializeToString(), trailers=trailers)
        except DecodeError as error:
            details = f"The request is no {kind.DESCRIPTOR.full_name}: {error}"
            return _refusal(grpc.StatusCode.INVALID_ARGUMENT, details)
        except RpcError as error:
            return _refusal(error.code, str(error))
        except TensorError as error:
            return _refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except InvalidBodyError as error:
            return _refusal(grpc.StatusCode.INVALID_ARGUMENT, error.text)
        except Exception as error:
            with within(parent):
                fields = {"rpc": rpc}
                self._use_case.logger.error(
                    "request failed", exc_info=error, extra={"fields": fields}
                )
            details = "Internal error; the log of the service says more"
            return _refusal(grpc.StatusCode.INTERNAL, details)

    async def _server_live(
        self, _request: pb2.ServerLiveRequest, _parent: PlainContext | None
    ) -> tuple[Message, Trailers]:
        return pb2.ServerLiveResponse(live=True), ()

    async def _server_ready(
        self, _request: pb2.ServerReadyRequest, _parent: PlainContext | None
    ) -> tuple[Message, Trailers]:
        # A replica that cannot answer is not asked: Serve and HAProxy see to that.
        return pb2.ServerReadyResponse(ready=True), ()

    async def _model_ready(
        self, request: pb2.ModelReadyRequest, _parent: PlainContext | None
    ) -> tuple[Message, Trailers]:
        self._require_model(request.name, request.version)
        return pb2.ModelReadyResponse(ready=True), ()

    async def _server_metadata(
        self, _request: pb2.ServerMetadataRequest, _parent: PlainContext | None
    ) -> tuple[Message, Trailers]:
        found = metadata.version("serve-app")
        return pb2.ServerMetadataResponse(name=SERVER, version=found), ()

    async def _model_metadata(
        self, request: pb2.ModelMetadataRequest, _parent: PlainContext | None
    ) -> tuple[Message, Trailers]:
        self._require_model(request.name, request.version)
        tensors = self._use_case.tensors
        response = pb2.ModelMetadataResponse(
            name=self._card.name,
            versions=[self._card.version],
            platform=PLATFORMS[self._use_case.engine],
            inputs=map(_tensor_metadata, tensors.inputs),
            outputs=map(_tensor_metadata, tensors.outputs),
        )
        return response, ()

    async def _model_infer(
        self, request: pb2.ModelInferRequest, parent: PlainContext | None
    ) -> tuple[Message, Trailers]:
        self._require_model(request.model_name, request.model_version)
        tensors, as_raw = self._use_case.tensors, bool(request.raw_input_contents)
        size = request.ByteSize() // BINARY_SHARE if as_raw else request.ByteSize()
        await self._use_case.turn(size)
        response = pb2.ModelInferResponse(
            model_name=self._card.name, model_version=self._card.version, id=request.id
        )
        # Before the prediction, which a parameter that is refused must not cost.
        repeat_parameters(request, response)
        selection = tensors.selection(outputs_of(request))
        rows = tensors.rows(list(inputs_of(request, most_elements=tensors.most_elements)))
        await self._use_case.turn(size)
        prediction, out_of_range = await self._use_case(rows, parent, PROTOCOL)
        add_outputs(response, tensors.results(prediction, selection), as_raw=as_raw)
        trailers = flagged(out_of_range)
        return response, tuple((name.decode(), value.decode()) for name, value in trailers)

    def _require_size(self, size: int) -> None:
        """Refuse what a proxy lets through, whose own limit is Serve's.

        Raises:
            RpcError: RESOURCE_EXHAUSTED.
        """
        longest = self.settings.max_body_bytes
        if size > longest:
            details = f"The message has {size} bytes; the limit is {longest}"
            raise RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, details)

    def _require_model(self, name: str, version: str) -> None:
        """Refuse what is not the model; no version is any version.

        Raises:
            RpcError: NOT_FOUND.
        """
        if name != self._card.name:
            details = f"There is no model {name[:100]!r}; the model is {self._card.name!r}"
            raise RpcError(grpc.StatusCode.NOT_FOUND, details)
        if version not in ("", self._card.version):
            details = (
                f"Model {name!r} has no version {version[:100]!r}; it is {self._card.version!r}"
            )
            raise RpcError(grpc.StatusCode.NOT_FOUND, details)


def _tensor_metadata(found: Metadata) -> pb2.ModelMetadataResponse.TensorMetadata:
    return pb2.ModelMetadataResponse.TensorMetadata(
        name=found.name, datatype=found.datatype, shape=found.shape
    )


def _refusal(code: grpc.StatusCode, details: str) -> Reply:
    short = details.encode(errors="replace")[:MAX_DETAILS_BYTES].decode(errors="ignore")
    return Reply(b"", code, short)
