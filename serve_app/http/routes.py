"""The paths of the service, with the handler of each."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serve_app.http.body import read_body
from serve_app.http.docs import ASSETS, asset, docs_page
from serve_app.http.openapi import openapi_document
from serve_app.protocols.answers import INFERENCE_HEADER, Answer, HttpError, json_answer
from serve_app.protocols.errors import InvalidBodyError
from serve_app.protocols.protocol import Describe, HttpProtocol, Predict, make_protocols
from serve_app.protocols.tensors import TensorError
from serve_app.protocols.use_case import UseCase
from serve_app.telemetry.plain_spans import PlainContext
from serve_app.telemetry.spans import current_parent, within

Handler = Callable[[Request], Awaitable["Answer | Response"]]


class Routes:
    """The HTTP interface of one model, in every protocol.

    Args:
        use_case: what answers.
    """

    def __init__(self, use_case: UseCase) -> None:
        self._use_case = use_case
        card = use_case.card
        self._title = f"{card.name} {card.task.noun}"
        named = make_protocols(use_case)
        protocols = list(named.values())
        self._native = protocols[0]
        # The longest prefix first: below it a path is the protocol's.
        self._protocols = sorted(protocols, key=lambda each: len(each.prefix), reverse=True)
        self._predictions: dict[str, Predict] = {}
        self._takes_any_type: set[str] = set()
        # Before those of the protocols: Vertex AI's routes may be any path.
        self._handlers: dict[str, tuple[str, Handler]] = {
            "/docs": ("GET", self._docs),
            **dict.fromkeys(ASSETS, ("GET", self._docs_asset)),
            "/openapi.json": ("GET", _describing(lambda: json_answer(self._openapi))),
        }
        self._owners: dict[str, HttpProtocol] = {}
        for each in protocols:
            self._add(each)
        described = {name: each.describe() for name, each in named.items()}
        self._openapi = openapi_document(card, described)

    def _add(self, protocol: HttpProtocol) -> None:
        self._predictions |= protocol.predictions
        self._owners |= dict.fromkeys((*protocol.predictions, *protocol.documents), protocol)
        if protocol.takes_any_type:
            self._takes_any_type.update(protocol.predictions)
        for path in protocol.predictions:
            self._handlers[path] = ("POST", self._read_and_predict)
        for path, describe in protocol.documents.items():
            self._handlers[path] = ("GET", _describing(describe))

    async def __call__(self, request: Request) -> Response:
        """Answer one request; every failure becomes a JSON body in the form of its protocol."""
        try:
            answer = await self._handler(request)(request)
        except Exception as error:
            answer = self._failure(error, _path(request))
        return _AnswerResponse(answer) if isinstance(answer, Answer) else answer

    @property
    def predictions(self) -> Collection[str]:
        """Paths that `predict` knows."""
        return self._predictions

    @property
    def takes_any_type(self) -> Collection[str]:
        """Those of them whose bodies need no content type, or have tensors in bytes."""
        return self._takes_any_type

    @property
    def max_body_bytes(self) -> int:
        """Largest body."""
        return self._use_case.settings.max_body_bytes

    @property
    def is_slow(self) -> bool:
        """Whether the last model call took long."""
        return self._use_case.is_slow

    async def predict(
        self,
        path: str,
        body: bytes,
        parent: PlainContext | None = None,
        head: bytes | None = None,
    ) -> Answer:
        """Answer the ``body`` of a POST to one of the `predictions`.

        ``parent`` is the request's span, None if it is not sampled; ``head`` the value of
        `INFERENCE_HEADER`, if there is one. Every failure becomes a JSON body.
        """
        try:
            return await self._predictions[path](body, parent, head)
        except Exception as error:
            with within(parent):
                return self._failure(error, path)

    def _failure(self, error: Exception, path: str) -> Answer:
        """What is answered to a request that is refused, or that failed."""
        protocol = self._protocol_of(path)
        if isinstance(error, InvalidBodyError):
            return protocol.invalid(error)
        if isinstance(error, TensorError):
            return protocol.refused(400, str(error))
        if isinstance(error, HttpError):
            return protocol.refused(error.status, error.detail, error.headers)
        fields = {"fields": {"path": path}}
        self._use_case.logger.error("request failed", exc_info=error, extra=fields)
        return protocol.refused(500, "Internal error; the log of the service says more")

    def _protocol_of(self, path: str) -> HttpProtocol:
        below = (each for each in self._protocols if f"{path}/".startswith(f"{each.prefix}/"))
        return self._owners.get(path) or next(below, self._native)

    def _handler(self, request: Request) -> Handler:
        scope, path = request.scope, _path(request)
        route = self._handlers.get(path)
        if route is None:
            said = self._protocol_of(path).unknown(path)
            known = [each for each in self._handlers if self._protocol_of(each) is self._native]
            text = f"No such path: {path[:100]!r}; known: {', '.join(sorted(known))}"
            raise HttpError(404, said or text)
        method, handler = route
        if scope["method"] != method and (scope["method"], method) != ("HEAD", "GET"):
            allowed = "GET, HEAD" if method == "GET" else method
            raise HttpError(
                405,
                f"{scope['method'][:20]} is not allowed here; use {method}",
                ((b"allow", allowed.encode()),),
            )
        return handler

    async def _read_and_predict(self, request: Request) -> Answer:
        path = _path(request)
        body = await read_body(
            request, self._use_case.settings, any_type=path in self._takes_any_type
        )
        # Of a header that is repeated, HTTP makes a list.
        heads = [value for name, value in request.scope["headers"] if name == INFERENCE_HEADER]
        head = b", ".join(heads) if heads else None
        return await self._predictions[path](body, current_parent(), head)

    async def _docs(self, request: Request) -> Response:
        return docs_page(request.scope.get("root_path", ""), self._title)

    async def _docs_asset(self, request: Request) -> Response:
        return asset(_path(request))


def _describing(describe: Describe) -> Handler:
    async def handle(_request: Request) -> Answer:
        return describe()

    return handle


def _path(request: Request) -> str:
    """Path below the place where the application is mounted."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope.get("root_path", "")) or "/"


class _AnswerResponse(Response):
    """An answer for Serve, which takes Starlette's: half the cost of making one its own way."""

    def __init__(self, answer: Answer) -> None:
        self.body = answer.body
        self.status_code = answer.status
        self.background = None
        self.raw_headers: Any = answer.all_headers()
