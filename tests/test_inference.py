"""Model calls are timed; those of waiting requests are shared without changing any answer."""

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.inference import (
    DirectInference,
    Inference,
    MicroBatcher,
    ModelCall,
    ModelCallError,
)
from serve_app.model.card import Engine, Label
from serve_app.model.predictor import NotFiniteError, Prediction, Rows


class Recorder:
    """Answers each row with its own value, refuses negative ones, and records its calls."""

    engine: Engine = "sklearn"

    def __init__(self, *, probabilities: bool = True) -> None:
        self.calls: list[int] = []
        self.seen: list[float] = []
        self._probabilities = probabilities

    def predict(self, rows: Rows) -> Prediction:
        self.calls.append(len(rows))
        values = rows[:, 0].tolist()
        self.seen += values
        for position, value in enumerate(values):
            if value < 0:
                raise NotFiniteError(position)
        labels: list[Label] = [str(value) for value in values]
        return Prediction(labels, [[value] for value in values] if self._probabilities else None)


def column(*values: float) -> Rows:
    return np.array([[value] for value in values], dtype=np.float64)


def run_together(inference: Inference, requests: Sequence[Rows]) -> list[ModelCall | BaseException]:
    """Send all requests in one turn of the event loop."""

    async def go() -> list[ModelCall | BaseException]:
        return await asyncio.gather(*map(inference, requests), return_exceptions=True)

    return asyncio.run(go())


def labels(outcomes: Sequence[ModelCall | BaseException]) -> list[list[Label]]:
    calls = [outcome for outcome in outcomes if isinstance(outcome, ModelCall)]
    assert len(calls) == len(outcomes), outcomes
    return [call.prediction.labels for call in calls]


@pytest.mark.parametrize("batched", [False, True])
def test_start_and_end_are_those_of_the_model_call(*, batched: bool) -> None:
    """Times are nanoseconds since the epoch and enclose the model call alone."""
    moments: list[int] = []

    class Clocked(Recorder):
        def predict(self, rows: Rows) -> Prediction:
            moments.append(time.time_ns())
            answer = super().predict(rows)
            moments.append(time.time_ns())
            return answer

    inference = MicroBatcher(Clocked(), max_rows=8) if batched else DirectInference(Clocked())
    before = time.time_ns()
    (call,) = run_together(inference, [column(1, 2)])
    assert isinstance(call, ModelCall)
    assert before <= call.start_ns <= moments[0] <= moments[1] <= call.end_ns <= time.time_ns()
    assert call.batch_rows == 2


def test_direct_inference_predicts_each_request_by_itself() -> None:
    """A fast engine gains nothing from batches."""
    recorder = Recorder()
    assert labels(run_together(DirectInference(recorder), [column(1), column(2)])) == [
        ["1.0"],
        ["2.0"],
    ]
    assert recorder.calls == [1, 1]


def test_what_waits_together_is_predicted_together() -> None:
    """Requests of one turn of the loop share one model call; each gets its own rows' answers."""
    recorder = Recorder()
    outcomes = run_together(MicroBatcher(recorder, max_rows=64), [column(1), column(2, 3)])
    assert recorder.calls == [3]
    assert labels(outcomes) == [["1.0"], ["2.0", "3.0"]]
    assert [outcome.batch_rows for outcome in outcomes if isinstance(outcome, ModelCall)] == [3, 3]


def test_an_idle_batcher_waits_for_nobody() -> None:
    """A lone request is predicted by itself, and so is the next one after it."""
    recorder = Recorder()
    batcher = MicroBatcher(recorder, max_rows=64)

    async def one_after_the_other() -> None:
        await batcher(column(1))
        await batcher(column(2))

    asyncio.run(asyncio.wait_for(one_after_the_other(), timeout=60))
    assert recorder.calls == [1, 1]


@pytest.mark.parametrize(
    ("sizes", "calls"),
    [
        ([1] * 10, [4, 4, 2]),
        ([3, 3, 1], [3, 4]),
        ([4, 1], [4, 1]),
        ([9], [9]),
        ([1, 9, 1], [1, 9, 1]),
    ],
)
def test_a_batch_is_no_larger_than_the_limit(sizes: list[int], calls: list[int]) -> None:
    """Requests go in order, never split; one that is larger than the limit goes alone."""
    recorder = Recorder()
    run_together(MicroBatcher(recorder, max_rows=4), [column(*range(size)) for size in sizes])
    assert recorder.calls == calls


@pytest.mark.parametrize("probabilities", [True, False])
def test_a_failing_row_harms_its_own_request_only(*, probabilities: bool) -> None:
    """Neighbours are answered; the error names the row's position in its own request."""
    batcher = MicroBatcher(Recorder(probabilities=probabilities), max_rows=64)
    first, failed, last = run_together(batcher, [column(1), column(2, -1), column(3)])
    assert labels([first, last]) == [["1.0"], ["3.0"]]
    assert isinstance(failed, ModelCallError)
    assert isinstance(failed.__cause__, NotFiniteError)
    assert failed.__cause__.row == 1


def test_one_failing_row_among_many_is_found_in_few_calls() -> None:
    """A batch is halved: a bad row must not make its neighbours wait for a call each."""
    recorder = Recorder()
    rows = [column(-1 if position == 20 else position) for position in range(64)]
    outcomes = run_together(MicroBatcher(recorder, max_rows=64), rows)
    assert [isinstance(outcome, ModelCallError) for outcome in outcomes].index(True) == 20
    assert sum(isinstance(outcome, ModelCall) for outcome in outcomes) == 63
    assert len(recorder.calls) == 13


@pytest.mark.parametrize("batched", [False, True])
def test_a_failed_call_is_timed_too(*, batched: bool) -> None:
    """The error says when the call that raised began and ended, and how many rows it had."""

    class Failing(Recorder):
        def predict(self, rows: Rows) -> Prediction:
            raise RuntimeError(f"{len(rows)} rows")

    inference = MicroBatcher(Failing(), max_rows=8) if batched else DirectInference(Failing())
    before = time.time_ns()
    (failed,) = run_together(inference, [column(1, 2)])
    assert isinstance(failed, ModelCallError)
    assert str(failed.__cause__) == "2 rows"
    assert before <= failed.start_ns <= failed.end_ns <= time.time_ns()
    assert failed.batch_rows == 2


def test_requests_whose_client_has_gone_are_not_predicted() -> None:
    """A cancelled request costs no model time, and those beside it are answered."""
    recorder = Recorder()
    batcher = MicroBatcher(recorder, max_rows=64)

    async def go() -> list[ModelCall | BaseException]:
        tasks = [asyncio.ensure_future(batcher(column(value))) for value in (1, 2, 3)]
        # One turn: each task runs up to its wait for the answer, before the batch is made.
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, gone, last = asyncio.run(go())
    assert isinstance(gone, asyncio.CancelledError)
    assert labels([first, last]) == [["1.0"], ["3.0"]]
    assert recorder.seen == [1, 3]


def test_all_requests_cancelled_is_no_model_call() -> None:
    """Nothing is left to predict, and the next request finds the batcher in order."""
    recorder = Recorder()
    batcher = MicroBatcher(recorder, max_rows=64)

    async def go() -> ModelCall:
        task = asyncio.ensure_future(batcher(column(1)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return await asyncio.wait_for(batcher(column(2)), timeout=60)

    assert asyncio.run(go()).prediction.labels == ["2.0"]
    assert recorder.seen == [2]


@given(
    requests=st.lists(st.lists(st.integers(-2, 99), min_size=1, max_size=9), max_size=30),
    max_rows=st.integers(1, 20),
)
def test_batching_changes_no_answer(requests: list[list[int]], max_rows: int) -> None:
    """Whatever arrives together, each request gets the answer or error that it gets alone."""
    rows = [column(*values) for values in requests]
    batched = run_together(MicroBatcher(Recorder(), max_rows=max_rows), rows)
    alone = [run_together(DirectInference(Recorder()), [one])[0] for one in rows]
    assert list(map(outcome_of, batched)) == list(map(outcome_of, alone))


def outcome_of(outcome: ModelCall | BaseException) -> object:
    """What the client learns: the prediction, or the error and its row."""
    if isinstance(outcome, ModelCall):
        return outcome.prediction
    assert isinstance(outcome, ModelCallError)
    assert isinstance(outcome.__cause__, NotFiniteError)
    return outcome.__cause__.row
