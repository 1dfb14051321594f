"""The paths of the service, with the handler of each."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any
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
from serve_app.telemetry.spans import PredictionTracer

OUT_OF_RANGE_HEADER = b"x-out-of-range-features"

Handler = Callable[[Request], Awaitable[Response]]


class Routes:
    """The HTTP interface of one model."""

    def __init__(
        self,
        card: ModelCard,
        engine: Engine,
        inference: MicroBatcher,
        settings: Settings,
    ) -> None:
        self._card = card
        self._infer = inference
        self._settings = settings
        self._schema = RequestSchema(card, max_rows=settings.max_rows)
        self._turns = Turns()
        self._tracer = PredictionTracer(card, engine)
        self._metrics = PredictionMetrics(card.task, engine)
        self._answers = card.task.answers
        self._logger = logging.getLogger(LOGGER_NAME)
        self._model = {"engine": engine, **card.model_dump(mode="json")}
        self._openapi = openapi_document(card, self._schema.json_schemas(), settings)
        self._handlers: dict[str, tuple[str, Handler]] = {
            "/predict/": ("POST", self._predict),
            "/predict": ("POST", self._predict),
            "/predict/batch/": ("POST", self._predict_batch),
            "/predict/batch": ("POST", self._predict_batch),
            "/": ("GET", self._index),
            "/model": ("GET", self._describe_model),
            "/docs": ("GET", self._docs),
            **dict.fromkeys(ASSETS, ("GET", self._docs_asset)),
            "/openapi.json": ("GET", self._openapi_json),
        }

    async def __call__(self, request: Request) -> Response:
        """Answer one request; every failure becomes a JSON body with ``detail``."""
        try:
            return await self._handler(request)(request)
        except InvalidBodyError as error:
            return _json({"detail": error.errors}, error.status)
        except HttpError as error:
            return _json({"detail": error.detail}, error.status, error.headers)
        except Exception:
            self._logger.exception("request failed", extra={"fields": {"path": request.url.path}})
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

    async def _predict(self, request: Request) -> Response:
        body = await read_json(request, self._settings)
        if len(body) > SHORT_BODY:
            await self._turns(len(body))
        rows = self._schema.instance(body)
        prediction, headers = await self._answer(rows)
        answer = self._answers(prediction)[0]
        answer["model_version"] = self._card.version
        return _json(answer, headers=headers)

    async def _predict_batch(self, request: Request) -> Response:
        body = await read_json(request, self._settings)
        if len(body) > SHORT_BODY:
            await self._turns(len(body))
        rows = self._schema.batch(body)
        prediction, headers = await self._answer(rows)
        return _json(
            {"predictions": self._answers(prediction), "model_version": self._card.version},
            headers=headers,
        )

    async def _answer(self, rows: Rows) -> tuple[Prediction, Headers]:
        try:
            call = await self._infer(rows)
        except ModelCallError as error:
            self._tracer.record_failure(error, len(rows))
            if isinstance(error.__cause__, NotFiniteError):
                row = error.__cause__.row
                place = row if len(rows) > 1 else None
                raise no_finite_answer(rows[row].tolist(), row=place) from None
            if is_refusal(error.__cause__):
                raise model_refuses(error.__cause__) from None
            raise
        out_of_range = self._schema.out_of_range(rows)
        self._tracer.record(call)
        self._metrics.record(call, out_of_range)
        if not out_of_range:
            return call.prediction, ()
        flagged = ",".join(quote(name, safe="") for name in out_of_range)
        return call.prediction, ((OUT_OF_RANGE_HEADER, flagged.encode()),)

    async def _index(self, _request: Request) -> Response:
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

    async def _describe_model(self, _request: Request) -> Response:
        return _json(self._model)

    async def _openapi_json(self, _request: Request) -> Response:
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


def _json(content: Any, status: int = 200, headers: Headers = ()) -> Response:
    return _JsonResponse(orjson.dumps(content), status, headers)


class _JsonResponse(Response):
    """A response that takes its headers ready-made: half the cost of Starlette's own."""

    def __init__(self, body: bytes, status: int, headers: Headers) -> None:
        self.body = body
        self.status_code = status
        self.background = None
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *headers,
        ]
