"""Metrics of predictions, as Ray is told them."""

import asyncio
from typing import Any

import pytest
from ray.serve import metrics

from serve_app.inference import ModelCall
from serve_app.model.tasks import Classification, OutlierDetection, Regression
from serve_app.telemetry import metrics as prediction_metrics
from serve_app.telemetry.metrics import PredictionMetrics
from tests.support.model_calls import call_of
from tests.support.waiting import wait_until

SPECIES = Classification(
    classes=("setosa", "versicolor", "virginica"),
    has_probabilities=False,
    labels_follow_probabilities=False,
)


class Recorded:
    """Increments of Ray's counters, by name and tags."""

    def __init__(self) -> None:
        self.total: dict[tuple[str, ...], float] = {}

    def add(self, counter: Any, value: float, tags: dict[str, str]) -> None:
        key = (counter.info["name"], *tags.values(), *counter.info["default_tags"].values())
        self.total[key] = self.total.get(key, 0) + value


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    recorded = Recorded()

    def inc(counter: Any, value: float, tags: dict[str, str]) -> None:
        recorded.add(counter, value, tags)

    monkeypatch.setattr(metrics.Counter, "inc", inc)
    return recorded


def count(counts: PredictionMetrics, *requests: tuple[ModelCall, list[str]]) -> None:
    """Count requests and hand them to Ray, twice: what was handed on is not handed on again."""

    async def main() -> None:
        for call, out_of_range in requests:
            counts.record(call, out_of_range)
        counts.flush()
        counts.flush()

    asyncio.run(main())


def test_metrics(recorded: Recorded) -> None:
    """Rows by class, model calls by size and out-of-range requests reach Ray when flushed."""
    count(
        PredictionMetrics(SPECIES, "onnx"),
        (call_of("setosa", start_ns=1), []),
        (call_of("setosa", "virginica", "setosa", start_ns=2), ["petal width"]),
        (call_of(*["setosa"] * 64, start_ns=3), []),
    )
    assert recorded.total == {
        ("serve_app_predictions", "setosa", "onnx"): 67,
        ("serve_app_predictions", "virginica", "onnx"): 1,
        ("serve_app_out_of_range_requests", "petal width"): 1,
        ("serve_app_model_calls", "1", "onnx"): 1,
        ("serve_app_model_calls", "4", "onnx"): 1,
        ("serve_app_model_calls", "64", "onnx"): 1,
    }


def test_micro_batch_is_one_model_call(recorded: Recorded) -> None:
    """Requests that one model call answered count as one call, and each row as a prediction."""
    labels = ("setosa", "virginica", "setosa")
    count(
        PredictionMetrics(SPECIES, "sklearn"),
        *((call_of(label, start_ns=7, batch_rows=3), []) for label in labels),
    )
    assert recorded.total == {
        ("serve_app_predictions", "setosa", "sklearn"): 2,
        ("serve_app_predictions", "virginica", "sklearn"): 1,
        ("serve_app_model_calls", "4", "sklearn"): 1,
    }


def test_request_path_makes_no_metric_call(recorded: Recorded) -> None:
    """A request only adds to plain numbers; Ray hears of them once a second."""

    async def main() -> None:
        PredictionMetrics(SPECIES, "onnx").record(call_of("setosa"), [])

    asyncio.run(main())
    assert recorded.total == {}


def test_answers_of_many_values_are_counted_without_them(recorded: Recorded) -> None:
    """Each number of a regressor would be a metric of its own; outliers are worth counting."""
    count(
        PredictionMetrics(Regression(targets=("price",)), "onnx"),
        (call_of([1.5], start_ns=1), []),
        (call_of([2.5], [3.5], start_ns=2), []),
    )
    count(
        PredictionMetrics(OutlierDetection(has_score=False), "sklearn"),
        (call_of(True, False, False), []),
    )
    predictions = {
        key[1:]: rows for key, rows in recorded.total.items() if key[0] == "serve_app_predictions"
    }
    assert predictions == {("", "onnx"): 3, ("true", "sklearn"): 1, ("false", "sklearn"): 2}


def test_a_failed_hand_over_is_logged_and_tried_again(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    """What was counted is kept until Ray takes it."""
    monkeypatch.setattr(prediction_metrics, "METRICS_SECONDS", 0.01)
    inc, failures = metrics.Counter.inc, iter([RuntimeError("no agent")])

    def fail_once(counter: Any, value: float, tags: dict[str, str]) -> None:
        for failure in failures:
            raise failure
        inc(counter, value, tags)

    monkeypatch.setattr(metrics.Counter, "inc", fail_once)

    async def main() -> None:
        PredictionMetrics(SPECIES, "onnx").record(call_of("setosa"), [])
        await asyncio.to_thread(wait_until, lambda: len(recorded.total) == 2)

    asyncio.run(main())
    assert recorded.total["serve_app_predictions", "setosa", "onnx"] == 1
    (record,) = log.records
    assert (record.levelname, record.exc_info is not None) == ("ERROR", True)
