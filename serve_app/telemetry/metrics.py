"""Metrics of predictions, in Ray Serve's own registry."""

import collections
from collections.abc import Sequence
from typing import Any

from ray.serve import metrics

from serve_app.inference import ModelCall
from serve_app.model.card import Engine
from serve_app.model.task import keys_of
from serve_app.model.tasks import Task
from serve_app.telemetry.periodic import Periodic

METRICS_SECONDS = 1.0


class PredictionMetrics:
    """Counts predictions in Serve's metrics registry.

    The request path counts in plain numbers, which are passed to Ray once a second: one metric call
    costs as much as a whole model call.
    """

    def __init__(self, task: Task, engine: Engine) -> None:
        self._predictions = metrics.Counter(
            "serve_app_predictions",
            description="Rows predicted, by engine and, where answers are few, by answer.",
            tag_keys=("predicted_class", "engine"),
        )
        self._predictions.set_default_tags({"engine": engine})
        self._out_of_range = metrics.Counter(
            "serve_app_out_of_range_requests",
            description="Requests with a value outside the training range, by feature.",
            tag_keys=("feature",),
        )
        # Ray's histogram takes one call per observation, and computes its sum from the middles of
        # its buckets. Mean rows per call: serve_app_predictions / serve_app_model_calls.
        self._model_calls = metrics.Counter(
            "serve_app_model_calls",
            description="Model calls, by rows in the call, rounded up to a power of two.",
            tag_keys=("batch_size", "engine"),
        )
        self._model_calls.set_default_tags({"engine": engine})
        self._countable = task.countable
        self._answers: collections.Counter[Any] = collections.Counter()
        self._features: collections.Counter[str] = collections.Counter()
        self._calls: collections.Counter[int] = collections.Counter()
        self._last_call_ns = 0
        # What could not be passed on stays counted, for the next time.
        self._flushes = Periodic(self.flush, METRICS_SECONDS, "metrics could not be passed to Ray")

    def record(self, call: ModelCall, out_of_range: Sequence[str]) -> None:
        """Count one answered request."""
        answers = self._countable(call.prediction.values)
        if call.start_ns != self._last_call_ns:  # requests of one micro-batch share one call
            self._last_call_ns = call.start_ns
            self._calls[1 << (call.batch_rows - 1).bit_length()] += 1
        if len(answers) == 1:
            self._answers[answers[0]] += 1
        else:
            self._answers.update(answers)
        if out_of_range:
            self._features.update(out_of_range)
        self._flushes.start()

    def flush(self) -> None:
        """Pass the counts since the last flush to Ray."""
        for answer, rows in zip(keys_of(self._answers), self._answers.values(), strict=True):
            self._predictions.inc(rows, {"predicted_class": answer})
        for feature, requests in self._features.items():
            self._out_of_range.inc(requests, {"feature": feature})
        for rows, calls in self._calls.items():
            self._model_calls.inc(calls, {"batch_size": str(rows)})
        self._answers.clear()
        self._features.clear()
        self._calls.clear()
