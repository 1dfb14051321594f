"""Model calls: one request at once, or several requests in a micro-batch."""

import asyncio
import time
from typing import NamedTuple

import numpy as np

from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Predictor, Rows

SETTLE_TURNS = 10
"""Turns of the event loop between the first request of a batch and its model call.

A request takes several turns from its socket to the model. Without this wait, which takes
microseconds, requests that arrived together would be split into small batches; see
docs/decisions/0009-micro-batching.md."""
SLOW_CALL_TURNS = 10
"""Milliseconds of a model call, beyond which a model is slow."""
NS_PER_TURN = 1_000_000
"""A longer call is followed by a turn for each millisecond that it took.

A turn accepts one new connection. Without these turns, a slow model under new connections would
answer one request a turn, and never see the others that it should refuse."""


class ModelCall(NamedTuple):
    """A prediction, and when its model call started and ended."""

    prediction: Prediction
    start_ns: int
    """Start of the model call alone, nanoseconds since the epoch."""
    end_ns: int
    batch_rows: int
    """Rows in the model call; more than were asked for if requests were batched."""


class ModelCallError(Exception):
    """A model call that raised an exception, which is the ``__cause__``."""

    def __init__(self, start_ns: int, end_ns: int, batch_rows: int) -> None:
        super().__init__(f"the model failed on {batch_rows} rows")
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.batch_rows = batch_rows


class MicroBatcher:
    """Predicts requests together that arrived together; it never waits for further requests.

    The model runs on the event loop. While it runs, requests wait in their sockets. The next turns
    of the loop read them, and they are predicted as one batch. A request runs immediately if no
    other request is waiting, or if it fills a batch. Between two batches the loop sends answers,
    reads requests and refuses them, for as many turns as the last call was long.
    """

    def __init__(self, predictor: Predictor, *, max_rows: int) -> None:
        self._predictor = predictor
        self._max_rows = max_rows
        self._waiting: list[tuple[Rows, asyncio.Future[ModelCall]]] = []
        self._batching = False
        self._turns = 0

    @property
    def is_slow(self) -> bool:
        """Whether the last model call took `SLOW_CALL_TURNS` or more."""
        return self._turns >= SLOW_CALL_TURNS

    async def __call__(self, rows: Rows) -> ModelCall:
        """Predict ``rows``, shape [rows, features].

        Raises:
            ModelCallError: the model raised.
        """
        if len(rows) >= self._max_rows:
            return self._call(rows)
        loop = asyncio.get_running_loop()
        if not self._batching:
            # The first request of a turn runs immediately; the others of this turn are batched.
            self._batching = True
            try:
                return self._call(rows)
            finally:
                loop.call_soon(self._end_turn, self._turns)
        answer: asyncio.Future[ModelCall] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._settle, SETTLE_TURNS + self._turns)
        self._waiting.append((rows, answer))
        return await answer

    def _call(self, rows: Rows) -> ModelCall:
        started = time.monotonic_ns()
        try:
            return call_model(self._predictor, rows)
        finally:
            self._turns = (time.monotonic_ns() - started) // NS_PER_TURN

    def _end_turn(self, turns: int) -> None:
        if turns > 0:
            asyncio.get_running_loop().call_soon(self._end_turn, turns - 1)
        else:
            self._batching = bool(self._waiting)

    def _settle(self, turns: int) -> None:
        if turns > 0:
            asyncio.get_running_loop().call_soon(self._settle, turns - 1)
        else:
            self._flush()

    def _flush(self) -> None:
        # A client that has closed its connection has cancelled its future.
        waiting = [request for request in self._waiting if not request[1].done()]
        self._batching = len(waiting) > 1
        taken = self._how_many_fit(waiting)
        self._waiting = waiting[taken:]
        self._predict_together(waiting[:taken])
        loop = asyncio.get_running_loop()
        if self._waiting:
            loop.call_soon(self._settle, SETTLE_TURNS + self._turns)
        elif self._turns and not self._batching:
            self._batching = True
            loop.call_soon(self._end_turn, self._turns)

    def _how_many_fit(self, waiting: list[tuple[Rows, asyncio.Future[ModelCall]]]) -> int:
        total = 0
        for position, (rows, _) in enumerate(waiting):
            total += len(rows)
            if total > self._max_rows:
                return position
        return len(waiting)

    def _predict_together(self, batch: list[tuple[Rows, asyncio.Future[ModelCall]]]) -> None:
        if not batch:
            return
        try:
            call = self._call(np.concatenate([rows for rows, _ in batch]))
        except ModelCallError as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            # One bad row must not fail the others. Halving finds it among 64 rows in 13 calls.
            middle = len(batch) // 2
            self._predict_together(batch[:middle])
            self._predict_together(batch[middle:])
            return
        first = 0
        for rows, answer in batch:
            last = first + len(rows)
            answer.set_result(call._replace(prediction=_part(call.prediction, first, last)))
            first = last


def call_model(predictor: Predictor, rows: Rows) -> ModelCall:
    """Predict ``rows`` in one timed call.

    Raises:
        ModelCallError: the model raised.
    """
    start = time.time_ns()
    try:
        prediction = predictor.predict(rows)
    except Exception as error:
        raise ModelCallError(start, time.time_ns(), len(rows)) from error
    return ModelCall(prediction, start, time.time_ns(), len(rows))


def _part(prediction: Prediction, first: int, last: int) -> Prediction:
    values, scores = prediction
    return Prediction(values[first:last], scores and scores[first:last])
