"""The paths of the service, with the handler of each."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serve_app.http.body import Headers, HttpError, read_json
from serve_app.http.docs import ASSETS, asset, docs_page
from serve_app.http.errors import InvalidBodyError, model_refuses, no_finite_answer
from serve_app.http.openapi import openapi_document
from serve_app.http.schemas import RequestSchema
from serve_app.http.turns import SHORT_BODY, Turns
from serve_app.inference import MicroBatcher, ModelCallError
from serve_app.model.card import Engine, ModelCard
from serve_app.model.prediction import NotFiniteError, Prediction, is_refusal
from serve_app.model.predictor import Rows
from serve_app.settings import Settings
from serve_app.telemetry.logs import LOGGER_NAME
from serve_app.telemetry.metrics import PredictionMetrics
from serve_app.telemetry.plain_spans import PlainContext, SpanSink
from serve_app.telemetry.spans import PredictionTracer, current_parent, within

OUT_OF_RANGE_HEADER = b"x-out-of-range-features"

Predict = Callable[[bytes, PlainContext | None], Awaitable["Answer"]]
"""Answers a body; the second argument is the request's span, None if it is not sampled."""
Handler = Callable[[Request], Awaitable["Answer | Response"]]


class Answer(NamedTuple):
    """What a request is answered, as JSON."""

    body: bytes
    status: int = 200
    headers: Headers = ()
    """Beyond `all_headers`."""

    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """Every header that depends on the answer alone."""
        return [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self.body)),
            *self.headers,
        ]


class Routes:
    """The HTTP interface of one model.

    Args:
        card: the model's.
        engine: what predicts.
        inference: calls the model.
        settings: limits of requests.
        spans: takes the spans of model calls; None if nothing is traced.
    """

    def __init__(
        self,
        card: ModelCard,
        engine: Engine,
        inference: MicroBatcher,
        settings: Settings,
        spans: SpanSink | None = None,
    ) -> None:
        self._card = card
        self._infer = inference
        self._settings = settings
        self._schema = RequestSchema(card, max_rows=settings.max_rows)
        self._turns = Turns()
        self._tracer = PredictionTracer(card, engine, spans)
        self._metrics = PredictionMetrics(card.task, engine)
        self._answers = card.task.answers
        self._logger = logging.getLogger(LOGGER_NAME)
        self._model = {"engine": engine, **card.model_dump(mode="json")}
        self._openapi = openapi_document(card, self._schema.json_schemas(), settings)
        self._predictions: dict[str, Predict] = {
            "/predict/": self._predict,
            "/predict": self._predict,
            "/predict/batch/": self._predict_batch,
            "/predict/batch": self._predict_batch,
        }
        self._handlers: dict[str, tuple[str, Handler]] = {
            **dict.fromkeys(self._predictions, ("POST", self._read_and_predict)),
            "/": ("GET", self._index),
            "/model": ("GET", self._describe_model),
            "/docs": ("GET", self._docs),
            **dict.fromkeys(ASSETS, ("GET", self._docs_asset)),
            "/openapi.json": ("GET", self._openapi_json),
        }

    async def __call__(self, request: Request) -> Response:
        """Answer one request; every failure becomes a JSON body with ``detail``."""
        try:
            answer = await self._handler(request)(request)
        except Exception as error:
            answer = self._failure(error, request.url.path)
        return _AnswerResponse(answer) if isinstance(answer, Answer) else answer

    @property
    def predictions(self) -> Iterable[str]:
        """Paths that `predict` knows."""
        return self._predictions

    @property
    def is_slow(self) -> bool:
        """Whether the last model call took long."""
        return self._infer.is_slow

    async def predict(self, path: str, body: bytes, parent: PlainContext | None = None) -> Answer:
        """Answer the JSON ``body`` of a POST to one of the `predictions`.

        ``parent`` is the request's span, None if it is not sampled. Every failure becomes a JSON
        body with ``detail``.
        """
        try:
            return await self._predictions[path](body, parent)
        except Exception as error:
            with within(parent):
                return self._failure(error, path)

    def _failure(self, error: Exception, path: str) -> Answer:
        """What is answered to a request that is refused, or that failed."""
        if isinstance(error, InvalidBodyError):
            return _json({"detail": error.errors}, error.status)
        if isinstance(error, HttpError):
            return _json({"detail": error.detail}, error.status, error.headers)
        self._logger.error("request failed", exc_info=error, extra={"fields": {"path": path}})
        return _json({"detail": "Internal error; the log of the service says more"}, 500)

    def _handler(self, request: Request) -> Handler:
        scope, path = request.scope, _path(request)
        route = self._handlers.get(path)
        if route is None:
            known = ", ".join(sorted(self._handlers))
            raise HttpError(404, f"No such path: {path[:100]!r}; known: {known}")
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
        body = await read_json(request, self._settings)
        return await self._predictions[_path(request)](body, current_parent())

    async def _predict(self, body: bytes, parent: PlainContext | None) -> Answer:
        await self._turn(body)
        rows = self._schema.instance(body)
        prediction, headers = await self._answer(rows, parent)
        answer = self._answers(prediction)[0]
        answer["model_version"] = self._card.version
        return _json(answer, headers=headers)

    async def _predict_batch(self, body: bytes, parent: PlainContext | None) -> Answer:
        # A thousand rows take milliseconds altogether: short requests are answered in between.
        await self._turn(body)
        rows = self._schema.batch(body)
        await self._turn(body)
        prediction, headers = await self._answer(rows, parent)
        await self._turn(body)
        return _json(
            {"predictions": self._answers(prediction), "model_version": self._card.version},
            headers=headers,
        )

    async def _turn(self, body: bytes) -> None:
        """Let others go first, unless there is little to do."""
        if len(body) > SHORT_BODY:
            await self._turns(len(body))

    async def _answer(self, rows: Rows, parent: PlainContext | None) -> tuple[Prediction, Headers]:
        try:
            call = await self._infer(rows)
        except ModelCallError as error:
            self._tracer.record_failure(error, len(rows), parent)
            if isinstance(error.__cause__, NotFiniteError):
                row = error.__cause__.row
                place = row if len(rows) > 1 else None
                raise no_finite_answer(rows[row].tolist(), row=place) from None
            if is_refusal(error.__cause__):
                raise model_refuses(error.__cause__) from None
            raise
        out_of_range = self._schema.out_of_range(rows)
        self._tracer.record(call, parent)
        self._metrics.record(call, out_of_range)
        if not out_of_range:
            return call.prediction, ()
        flagged = ",".join(quote(name, safe="") for name in out_of_range)
        return call.prediction, ((OUT_OF_RANGE_HEADER, flagged.encode()),)

    async def _index(self, _request: Request) -> Answer:
        return _json(
            {
                "service": f"{self._card.name} {self._card.task.noun}",
                "model_version": self._card.version,
                "predict": "POST /predict/",
                "predict_batch": "POST /predict/batch/",
                "model": "/model",
                "docs": "/docs",
                "openapi": "/openapi.json",
                "health": "/-/healthz",
            }
        )

    async def _describe_model(self, _request: Request) -> Answer:
        return _json(self._model)

    async def _openapi_json(self, _request: Request) -> Answer:
        return _json(self._openapi)

    async def _docs(self, request: Request) -> Response:
        title = f"{self._card.name} {self._card.task.noun}"
        return docs_page(request.scope.get("root_path", ""), title)

    async def _docs_asset(self, request: Request) -> Response:
        return asset(_path(request))


def _path(request: Request) -> str:
    """Path below the place where the application is mounted."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope.get("root_path", "")) or "/"


def _json(content: Any, status: int = 200, headers: Headers = ()) -> Answer:
    return Answer(orjson.dumps(content), status, headers)


class _AnswerResponse(Response):
    """An answer for Serve, which takes Starlette's: half the cost of making one its own way."""

    def __init__(self, answer: Answer) -> None:
        self.body = answer.body
        self.status_code = answer.status
        self.background = None
        self.raw_headers = answer.all_headers()
