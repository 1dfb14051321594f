"""Model calls are timed; those of waiting requests are shared without changing any answer."""

import asyncio
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.inference import MicroBatcher, ModelCall, ModelCallError
from serve_app.model.card import Engine
from serve_app.model.prediction import NotFiniteError, Prediction
from serve_app.model.predictor import Rows
from serve_app.model.task import Label

Run = Callable[[MicroBatcher, Sequence[Rows]], list[ModelCall | BaseException]]


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


def run_together(
    batcher: MicroBatcher, requests: Sequence[Rows]
) -> list[ModelCall | BaseException]:
    """Send all requests in one turn of the event loop."""

    async def go() -> list[ModelCall | BaseException]:
        return await asyncio.gather(*map(batcher, requests), return_exceptions=True)

    return asyncio.run(go())


def run_in_company(
    batcher: MicroBatcher, requests: Sequence[Rows]
) -> list[ModelCall | BaseException]:
    """Send all requests in one turn of the event loop, after one that is predicted at once."""
    _, *outcomes = run_together(batcher, [column(0), *requests])
    return outcomes


def labels(outcomes: Sequence[ModelCall | BaseException]) -> list[list[Label]]:
    calls = [outcome for outcome in outcomes if isinstance(outcome, ModelCall)]
    assert len(calls) == len(outcomes), outcomes
    return [call.prediction.values for call in calls]


@pytest.mark.parametrize("run", [run_together, run_in_company])
def test_start_and_end_are_those_of_the_model_call(run: Run) -> None:
    """Times are nanoseconds since the epoch and enclose the model call alone."""
    moments: list[int] = []

    class Clocked(Recorder):
        def predict(self, rows: Rows) -> Prediction:
            moments.append(time.time_ns())
            answer = super().predict(rows)
            moments.append(time.time_ns())
            return answer

    before = time.time_ns()
    (call,) = run(MicroBatcher(Clocked(), max_rows=8), [column(1, 2)])
    assert isinstance(call, ModelCall)
    assert before <= call.start_ns <= moments[-2] <= moments[-1] <= call.end_ns <= time.time_ns()
    assert call.batch_rows == 2


def test_what_comes_together_is_predicted_together() -> None:
    """Requests of one turn share a model call, but for the first: it was alone when it came."""
    recorder = Recorder()
    outcomes = run_together(
        MicroBatcher(recorder, max_rows=64), [column(1), column(2, 3), column(4)]
    )
    assert recorder.calls == [1, 3]
    assert labels(outcomes) == [["1.0"], ["2.0", "3.0"], ["4.0"]]
    sizes = [outcome.batch_rows for outcome in outcomes if isinstance(outcome, ModelCall)]
    assert sizes == [1, 3, 3]


def test_a_lone_request_does_not_wait() -> None:
    """It is predicted before the loop turns, time and again."""
    recorder = Recorder()
    batcher = MicroBatcher(recorder, max_rows=64)

    async def one_after_the_other() -> None:
        for request in range(1, 4):
            task = asyncio.ensure_future(batcher(column(request)))
            await asyncio.sleep(0)
            assert task.done()
            await asyncio.sleep(0)

    asyncio.run(one_after_the_other())
    assert recorder.calls == [1, 1, 1]


def test_a_batch_waits_for_requests_of_the_next_turns() -> None:
    """One request a turn, as they come from their sockets: all of them share a model call."""
    recorder = Recorder()
    batcher = MicroBatcher(recorder, max_rows=64)

    async def go() -> list[ModelCall | BaseException]:
        tasks = [asyncio.ensure_future(batcher(column(value))) for value in (0, 1)]
        for value in range(2, 7):
            await asyncio.sleep(0)
            tasks.append(asyncio.ensure_future(batcher(column(value))))
        gathered: list[ModelCall | BaseException] = await asyncio.gather(*tasks)
        return gathered

    outcomes = asyncio.run(go())
    assert recorder.calls == [1, 6]
    assert labels(outcomes) == [[f"{value}.0"] for value in range(7)]


def test_a_batch_waits_for_a_few_turns_only() -> None:
    """A request is answered while others keep coming, in every turn of the event loop."""
    recorder = Recorder()
    batcher = MicroBatcher(recorder, max_rows=1000)

    async def go() -> None:
        tasks = [asyncio.ensure_future(batcher(column(value))) for value in (0, 1)]
        while not tasks[1].done():
            await asyncio.sleep(0)
            tasks.append(asyncio.ensure_future(batcher(column(2))))
        assert len(tasks) < 20
        await asyncio.gather(*tasks)

    asyncio.run(go())


def test_requests_after_a_shared_call_wait_from_the_first_on() -> None:
    """After a shared call even the first of a turn waits; after one alone, it does not."""
    recorder = Recorder()
    batcher = MicroBatcher(recorder, max_rows=64)

    async def together(count: int) -> None:
        await asyncio.gather(*(batcher(column(0)) for _ in range(count)))

    async def go() -> None:
        await together(3)
        await together(2)
        await together(1)
        await together(2)

    asyncio.run(go())
    assert recorder.calls == [1, 2, 2, 1, 1, 1]


def test_requests_that_come_after_a_slow_call_wait_for_each_other() -> None:
    """One a turn, as new connections are accepted: not each has a slow call of its own."""

    class Slow(Recorder):
        def predict(self, rows: Rows) -> Prediction:
            time.sleep(0.03)
            return super().predict(rows)

    recorder = Slow()
    batcher = MicroBatcher(recorder, max_rows=64)

    async def go() -> None:
        tasks = []
        for value in range(16):
            tasks.append(asyncio.ensure_future(batcher(column(value))))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    asyncio.run(go())
    assert recorder.calls == [1, 15]


@pytest.mark.parametrize(
    ("sizes", "calls"),
    [
        ([1] * 10, [4, 4, 2]),
        ([3, 3, 1], [3, 4]),
        ([4, 1], [4, 1]),
        ([9], [9]),
        ([1, 9, 1], [9, 2]),
        ([1, 4, 3, 1], [4, 4, 1]),
    ],
)
def test_a_batch_is_no_larger_than_the_limit(sizes: list[int], calls: list[int]) -> None:
    """Requests go in order, never split; one that fills a batch by itself need not wait."""
    recorder = Recorder()
    run_in_company(MicroBatcher(recorder, max_rows=4), [column(*range(size)) for size in sizes])
    assert recorder.calls == [1, *calls]


@pytest.mark.parametrize("probabilities", [True, False])
def test_a_failing_row_harms_its_own_request_only(*, probabilities: bool) -> None:
    """Neighbours are answered; the error names the row's position in its own request."""
    batcher = MicroBatcher(Recorder(probabilities=probabilities), max_rows=64)
    first, failed, last = run_in_company(batcher, [column(1), column(2, -1), column(3)])
    assert labels([first, last]) == [["1.0"], ["3.0"]]
    assert isinstance(failed, ModelCallError)
    assert isinstance(failed.__cause__, NotFiniteError)
    assert failed.__cause__.row == 1


def test_one_failing_row_among_many_is_found_in_few_calls() -> None:
    """A batch is halved: a bad row must not make its neighbours wait for a call each."""
    recorder = Recorder()
    rows = [column(-1 if position == 20 else position) for position in range(64)]
    outcomes = run_in_company(MicroBatcher(recorder, max_rows=64), rows)
    assert [isinstance(outcome, ModelCallError) for outcome in outcomes].index(True) == 20
    assert sum(isinstance(outcome, ModelCall) for outcome in outcomes) == 63
    assert len(recorder.calls) == 1 + 13


@pytest.mark.parametrize("run", [run_together, run_in_company])
def test_a_failed_call_is_timed_too(run: Run) -> None:
    """The error says when the call that raised began and ended, and how many rows it had."""

    class Failing(Recorder):
        def predict(self, rows: Rows) -> Prediction:
            raise RuntimeError(f"{len(rows)} rows")

    before = time.time_ns()
    (failed,) = run(MicroBatcher(Failing(), max_rows=8), [column(1, 2)])
    assert isinstance(failed, ModelCallError)
    assert str(failed.__cause__) == "2 rows"
    assert before <= failed.start_ns <= failed.end_ns <= time.time_ns()
    assert failed.batch_rows == 2


def test_requests_whose_client_has_gone_are_not_predicted() -> None:
    """A cancelled request costs no model time, and those beside it are answered."""
    recorder = Recorder()
    batcher = MicroBatcher(recorder, max_rows=64)

    async def go() -> list[ModelCall | BaseException]:
        tasks = [asyncio.ensure_future(batcher(column(value))) for value in (0, 1, 2, 3)]
        # One turn: each task runs up to its wait for the answer, before the batch is made.
        await asyncio.sleep(0)
        tasks[2].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    _, first, gone, last = asyncio.run(go())
    assert isinstance(gone, asyncio.CancelledError)
    assert labels([first, last]) == [["1.0"], ["3.0"]]
    assert recorder.seen == [0, 1, 3]


def test_all_requests_cancelled_is_no_model_call() -> None:
    """Nothing is left to predict, and the next request finds the batcher in order."""
    recorder = Recorder()
    batcher = MicroBatcher(recorder, max_rows=64)

    async def go() -> ModelCall:
        tasks = [asyncio.ensure_future(batcher(column(value))) for value in (0, 1)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait(tasks)
        return await asyncio.wait_for(batcher(column(2)), timeout=60)

    assert asyncio.run(go()).prediction.values == ["2.0"]
    assert recorder.seen == [0, 2]


@given(
    requests=st.lists(st.lists(st.integers(-2, 99), min_size=1, max_size=9), max_size=30),
    max_rows=st.integers(1, 20),
)
def test_batching_changes_no_answer(requests: list[list[int]], max_rows: int) -> None:
    """In any company, a request gets the answer or error that it gets alone."""
    rows = [column(*values) for values in requests]
    batched = run_together(MicroBatcher(Recorder(), max_rows=max_rows), rows)
    alone = [run_together(MicroBatcher(Recorder(), max_rows=1), [one])[0] for one in rows]
    assert list(map(outcome_of, batched)) == list(map(outcome_of, alone))


def outcome_of(outcome: ModelCall | BaseException) -> object:
    """What the client learns: the prediction, or the error and its row."""
    if isinstance(outcome, ModelCall):
        return outcome.prediction
    assert isinstance(outcome, ModelCallError)
    assert isinstance(outcome.__cause__, NotFiniteError)
    return outcome.__cause__.row
