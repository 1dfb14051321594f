"""The service's own protocol: ``/predict/`` and ``/predict/batch/``."""

from collections.abc import Mapping

from serve_app.protocols.answers import Answer, Headers, flagged, json_answer
from serve_app.protocols.described import Description
from serve_app.protocols.errors import InvalidBodyError
from serve_app.protocols.native_openapi import description
from serve_app.protocols.protocol import Describe, Predict
from serve_app.protocols.use_case import UseCase
from serve_app.telemetry.plain_spans import PlainContext

NAME = "native"


class Translator:
    """Rows as JSON objects; see `serve_app.protocols.protocol.HttpProtocol`."""

    prefix = ""
    takes_any_type = False

    def __init__(self, use_case: UseCase) -> None:
        self._use_case = use_case
        self._schema = use_case.schema
        self._settings = use_case.settings
        self._turn = use_case.turn
        self._card = card = use_case.card
        self._answers = card.task.answers
        self._model = {"engine": use_case.engine, **card.model_dump(mode="json")}
        self.predictions: Mapping[str, Predict] = {
            "/predict/": self._predict,
            "/predict": self._predict,
            "/predict/batch/": self._predict_batch,
            "/predict/batch": self._predict_batch,
        }
        self.documents: Mapping[str, Describe] = {
            "/": self._index,
            "/model": lambda: json_answer(self._model),
        }

    def invalid(self, error: InvalidBodyError) -> Answer:
        """In the form that FastAPI uses."""
        return json_answer({"detail": error.errors}, error.status)

    def refused(self, status: int, detail: str, headers: Headers = ()) -> Answer:
        """JSON with ``detail``."""
        return json_answer({"detail": detail}, status, headers)

    def describe(self) -> Description:
        """See `HttpProtocol.describe`."""
        return description(self._card, self._schema.json_schemas(), self._settings)

    def unknown(self, path: str) -> str | None:
        """Nothing of its own."""
        del path
        return None

    async def _predict(
        self, body: bytes, parent: PlainContext | None, _head: bytes | None = None
    ) -> Answer:
        await self._turn(len(body))
        rows = self._schema.instance(body)
        prediction, out_of_range = await self._use_case(rows, parent, NAME)
        answer = self._answers(prediction)[0]
        answer["model_version"] = self._card.version
        return json_answer(answer, headers=flagged(out_of_range))

    async def _predict_batch(
        self, body: bytes, parent: PlainContext | None, _head: bytes | None = None
    ) -> Answer:
        # A thousand rows take milliseconds altogether: short requests are answered in between.
        await self._turn(len(body))
        rows = self._schema.batch(body)
        await self._turn(len(body))
        prediction, out_of_range = await self._use_case(rows, parent, NAME)
        await self._turn(len(body))
        return json_answer(
            {"predictions": self._answers(prediction), "model_version": self._card.version},
            headers=flagged(out_of_range),
        )

    def _index(self) -> Answer:
        return json_answer(
            {
                # KServe's client of V1 asks here whether the server lives.
                "status": "alive",
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
