"""Spans, metrics and log lines of predictions."""

import asyncio
import collections
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode
from opentelemetry.util.types import AttributeValue
from ray.serve import metrics

from serve_app.inference import ModelCall, ModelCallError
from serve_app.model.card import Engine, Label, ModelCard

LOGGER_NAME = "serve_app"
SPAN_NAME = "model_prediction"
METRICS_SECONDS = 1.0


class PredictionTracer:
    """Makes the ``model_prediction`` span of each sampled request, after the fact."""

    def __init__(self, card: ModelCard, engine: Engine) -> None:
        self._tracer = trace.get_tracer(LOGGER_NAME)
        self._attributes: dict[str, AttributeValue] = {
            "model.name": card.name,
            "model.version": card.version,
            "model.engine": engine,
        }

    def record(self, call: ModelCall) -> None:
        """Record a span that begins and ends with the model call, if the request is sampled."""
        # Ray sets a current span for sampled requests only: one look-up is all others pay.
        if not trace.get_current_span().is_recording():
            return
        labels = call.prediction.labels
        attributes = self._attributes | {
            "model.rows": len(labels),
            "model.batch_size": call.batch_rows,
        }
        if len(labels) == 1:
            attributes["predicted_class"] = labels[0]
        else:
            counts = collections.Counter(labels)
            attributes["predicted_class"] = [str(label) for label in counts]
            attributes["predicted_class_counts"] = list(counts.values())
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


class PredictionMetrics:
    """Counts predictions in Serve's metrics registry.

    Counted in plain numbers on the request path and handed to Ray once a second: one metric call
    costs as much as a whole model call.
    """

    def __init__(self, engine: Engine) -> None:
        self._predictions = metrics.Counter(
            "serve_app_predictions",
            description="Rows predicted, by predicted class and engine.",
            tag_keys=("predicted_class", "engine"),
        )
        self._predictions.set_default_tags({"engine": engine})
        self._out_of_range = metrics.Counter(
            "serve_app_out_of_range_requests",
            description="Requests with a value outside the training range, by feature.",
            tag_keys=("feature",),
        )
        # Not a histogram: Ray's takes one call per observation, and its sum is made of the middles
        # of buckets. Rows per call on average are serve_app_predictions / serve_app_model_calls.
        self._model_calls = metrics.Counter(
            "serve_app_model_calls",
            description="Model calls, by rows in the call, rounded up to a power of two.",
            tag_keys=("batch_size", "engine"),
        )
        self._model_calls.set_default_tags({"engine": engine})
        self._labels: collections.Counter[Label] = collections.Counter()
        self._features: collections.Counter[str] = collections.Counter()
        self._calls: collections.Counter[int] = collections.Counter()
        self._last_call_ns = 0
        self._flush_task: asyncio.Task[None] | None = None

    def record(self, call: ModelCall, out_of_range: Sequence[str]) -> None:
        """Count one answered request."""
        labels = call.prediction.labels
        if call.start_ns != self._last_call_ns:  # requests of one micro-batch share one call
            self._last_call_ns = call.start_ns
            self._calls[1 << (call.batch_rows - 1).bit_length()] += 1
        if len(labels) == 1:
            self._labels[labels[0]] += 1
        else:
            self._labels.update(labels)
        if out_of_range:
            self._features.update(out_of_range)
        if self._flush_task is None:
            self._flush_task = asyncio.get_running_loop().create_task(self._flush_forever())

    def flush(self) -> None:
        """Hand what was counted since the last flush to Ray."""
        for label, rows in self._labels.items():
            self._predictions.inc(rows, {"predicted_class": str(label)})
        for feature, requests in self._features.items():
            self._out_of_range.inc(requests, {"feature": feature})
        for rows, calls in self._calls.items():
            self._model_calls.inc(calls, {"batch_size": str(rows)})
        self._labels.clear()
        self._features.clear()
        self._calls.clear()

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(METRICS_SECONDS)
            try:
                self.flush()
            except Exception:
                # What was counted stays for the next attempt; a task that ends would do so unseen.
                logging.getLogger(LOGGER_NAME).exception("metrics are not handed to Ray")


class JsonFormatter(logging.Formatter):
    """One JSON object per line, with the fields that Cloud Logging joins to a trace.

    Field names: https://cloud.google.com/logging/docs/structured-logging
    """

    def __init__(self, project_id: str | None = None) -> None:
        super().__init__()
        self._trace_prefix = f"projects/{project_id}/traces/" if project_id else ""

    def format(self, record: logging.LogRecord) -> str:
        """Format ``record``; ``extra={"fields": {...}}`` become fields of the line."""
        entry: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "severity": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            entry["logging.googleapis.com/trace"] = f"{self._trace_prefix}{span.trace_id:032x}"
            entry["logging.googleapis.com/spanId"] = f"{span.span_id:016x}"
            entry["logging.googleapis.com/trace_sampled"] = span.trace_flags.sampled
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure_logging() -> logging.Logger:
    """Send the application's events to this process's standard error as JSON lines, once."""
    logger = logging.getLogger(LOGGER_NAME)
    if not logger.handlers:
        # In throughput mode Serve replaces sys.stderr by its own log; the original still reaches
        # the worker's file and the terminal of `serve run`.
        handler = logging.StreamHandler(sys.__stderr__)
        handler.setFormatter(JsonFormatter(os.environ.get("GOOGLE_CLOUD_PROJECT")))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return logger
