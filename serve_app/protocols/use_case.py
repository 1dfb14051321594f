"""What every protocol does with rows: predict them, and tell spans, metrics and the client."""

import logging

from serve_app.inference import MicroBatcher, ModelCallError
from serve_app.model.card import Engine, ModelCard
from serve_app.model.prediction import NotFiniteError, Prediction, is_refusal
from serve_app.model.predictor import Rows
from serve_app.protocols.columns import TensorSchema
from serve_app.protocols.errors import model_refuses, no_finite_answer
from serve_app.protocols.schemas import RequestSchema
from serve_app.protocols.turns import SHORT_BODY, Turns
from serve_app.settings import Settings
from serve_app.telemetry.logs import LOGGER_NAME
from serve_app.telemetry.metrics import PredictionMetrics
from serve_app.telemetry.plain_spans import PlainContext, SpanSink
from serve_app.telemetry.spans import PredictionTracer


class UseCase:
    """A model with all that its answers need; one for each replica, shared by its protocols.

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
        self.card = card
        self.engine = engine
        self.settings = settings
        self.schema = RequestSchema(card, max_rows=settings.max_rows)
        """Validates rows in JSON."""
        self.tensors = TensorSchema(card, self.schema, max_rows=settings.max_rows)
        """Validates tensors, and makes those of an answer."""
        self.logger = logging.getLogger(LOGGER_NAME)
        self._infer = inference
        self._turns = Turns()
        self._tracer = PredictionTracer(card, engine, spans)
        self._metrics = PredictionMetrics(card.task, engine)

    @property
    def is_slow(self) -> bool:
        """Whether the last model call took long."""
        return self._infer.is_slow

    async def turn(self, size: int) -> None:
        """Before work on ``size`` bytes: let others go first, unless there is little to do."""
        if size > SHORT_BODY:
            await self._turns(size)

    async def __call__(
        self, rows: Rows, parent: PlainContext | None, protocol: str
    ) -> tuple[Prediction, list[str]]:
        """Predict valid rows.

        Args:
            rows: shape [rows, features].
            parent: the request's span; None if it is not sampled.
            protocol: name of the protocol of the request, for its span.

        Returns:
            The prediction, and the names of the features with a value that training has not seen.

        Raises:
            InvalidBodyError: the model refuses the values, or has no finite answer to them.
            ModelCallError: the model failed.
        """
        try:
            call = await self._infer(rows)
        except ModelCallError as error:
            self._tracer.record_failure(error, len(rows), parent, protocol)
            if isinstance(error.__cause__, NotFiniteError):
                row = error.__cause__.row
                place = row if len(rows) > 1 else None
                raise no_finite_answer(rows[row].tolist(), row=place) from None
            if is_refusal(error.__cause__):
                raise model_refuses(error.__cause__) from None
            raise
        out_of_range = self.schema.out_of_range(rows)
        self._tracer.record(call, parent, protocol)
        self._metrics.record(call, out_of_range)
        return call.prediction, out_of_range
