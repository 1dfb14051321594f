"""The span ``model_prediction`` of each sampled request."""

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode
from opentelemetry.util.types import AttributeValue

from serve_app.inference import ModelCall, ModelCallError
from serve_app.model.card import Engine, ModelCard
from serve_app.telemetry.logs import LOGGER_NAME

SPAN_NAME = "model_prediction"


class PredictionTracer:
    """Records the span ``model_prediction`` of each sampled request, after the model call."""

    def __init__(self, card: ModelCard, engine: Engine) -> None:
        self._tracer = trace.get_tracer(LOGGER_NAME)
        self._attributes: dict[str, AttributeValue] = {
            "model.name": card.name,
            "model.version": card.version,
            "model.engine": engine,
        }
        self._describe = card.task.span_attributes

    def record(self, call: ModelCall) -> None:
        """Record a span that begins and ends with the model call, if the request is sampled."""
        # Ray sets a current span for sampled requests only; all others cost one look-up.
        if not trace.get_current_span().is_recording():
            return
        values = call.prediction.values
        attributes = {
            **self._attributes,
            "model.rows": len(values),
            "model.batch_size": call.batch_rows,
            **self._describe(values),
        }
        span = self._tracer.start_span(SPAN_NAME, start_time=call.start_ns, attributes=attributes)
        span.end(call.end_ns)

    def record_failure(self, failure: ModelCallError, rows: int) -> None:
        """Record a span of a model call that raised, if the request is sampled."""
        if not trace.get_current_span().is_recording():
            return
        cause = failure.__cause__ or failure
        attributes = self._attributes | {
            "model.rows": rows,
            "model.batch_size": failure.batch_rows,
            "error.type": type(cause).__qualname__,
        }
        span = self._tracer.start_span(
            SPAN_NAME, start_time=failure.start_ns, attributes=attributes
        )
        span.record_exception(cause, timestamp=failure.end_ns)
        span.set_status(Status(StatusCode.ERROR, str(cause)))
        span.end(failure.end_ns)
