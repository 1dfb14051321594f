"""Processor time of each stage of a prediction on the direct path, in this process.

What they do not show is the difference to a replica's processor time per request: the server's own
work, the event loop, and the kernel.
"""

import asyncio
import json
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import orjson
import uvloop
from starlette.types import Message, Receive, Scope, Send

from bench.models import BenchModel
from serve_app.http.direct import DirectPath, look_at
from serve_app.http.routes import Routes
from serve_app.inference import MicroBatcher
from serve_app.model.artifact import Artifact
from serve_app.model.loading import load_predictor
from serve_app.protocols.schemas import RequestSchema
from serve_app.protocols.use_case import UseCase
from serve_app.ray_internals.direct_ingress import ReplicaBooks
from serve_app.settings import Settings
from serve_app.telemetry.metrics import PredictionMetrics
from serve_app.telemetry.plain_spans import PlainContext, PlainSpan
from serve_app.telemetry.spans import PredictionTracer

REPEATS = 2_000
ROUNDS = 7
PATH = "/predict/"
WHOLE = "direct path, all of it"
Stage = Callable[[], object]


def timed_stages(model: BenchModel) -> Iterator[tuple[str, dict[str, float]]]:
    """One round: each stage, and all of them together.

    Yields:
        The stage and ``us``, microseconds of processor time, the least of some medians.
    """
    body = json.dumps(model.instances[0], separators=(",", ":")).encode()
    for name, us in uvloop.run(_each(model, body)).items():
        yield name, {"us": us}
    yield WHOLE, {"us": uvloop.run(_whole(model, body))}


async def _each(model: BenchModel, body: bytes) -> dict[str, float]:
    """Microseconds of each stage, by its name."""
    artifact, settings = Artifact.open(model.directory), Settings()
    card, predictor = artifact.card, load_predictor(artifact, "onnx")
    schema = RequestSchema(card, max_rows=settings.max_rows)
    rows = schema.instance(body)
    call = await MicroBatcher(predictor, max_rows=settings.max_batch_rows)(rows)
    last = deque[PlainSpan](maxlen=1)
    tracer, metrics = (
        PredictionTracer(card, "onnx", last.append),
        PredictionMetrics(card.task, "onnx"),
    )
    request = PlainContext(trace_id=1, span_id=1, flags=1, state="")
    answer = {**card.task.answers(call.prediction)[0], "model_version": card.version}
    headers = _headers(body)
    stages: dict[str, Stage] = {
        "look at the headers": lambda: look_at(headers),
        "parse and validate": lambda: schema.instance(body),
        "model call": lambda: predictor.predict(rows),
        "compare with the training range": lambda: schema.out_of_range(rows),
        "span, if sampled": lambda: tracer.record(call, request, "native"),
        "count": lambda: metrics.record(call, ()),
        "make the answer": lambda: card.task.answers(call.prediction),
        "encode the answer": lambda: orjson.dumps(answer),
    }
    return {
        name: min(_microseconds(stage) for _ in range(ROUNDS)) for name, stage in stages.items()
    }


async def _whole(model: BenchModel, body: bytes) -> float:
    """Microseconds of a request, one after the other, between receiving and sending it."""
    artifact, settings = Artifact.open(model.directory), Settings()
    predictor = load_predictor(artifact, "onnx")
    inference = MicroBatcher(predictor, max_rows=settings.max_batch_rows)
    routes = Routes(UseCase(artifact.card, predictor.engine, inference, settings))

    async def serve(_scope: Scope, _receive: Receive, _send: Send) -> None:
        # After a call that took long, on a busy machine, one request goes Serve's way.
        await routes.predict(PATH, body, None)

    path = DirectPath(serve, cast(ReplicaBooks, _NoBooks()), routes, None, None)
    message = {"type": "http.request", "body": body, "more_body": False}
    scope = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "root_path": "",
        "headers": _headers(body),
    }

    async def receive() -> Message:
        return message

    async def send(_message: Message) -> None:
        pass

    times = []
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        for _ in range(REPEATS):
            await path(scope, receive, send)
            await asyncio.sleep(0)  # the next request comes in another turn of the loop
        times.append((time.process_time_ns() - started) / REPEATS / 1e3)
    return min(times)


class _NoBooks:
    """In place of a replica's."""

    route_prefix, timeout_seconds, has_access_log, is_full = "/", None, False, False

    def begin(self) -> None:
        """Nothing to do."""

    def end(self) -> None:
        """Nothing to do."""

    def enter(self, method: str, status: int, latencies: Sequence[float]) -> None:
        """Nothing to do."""


def _headers(body: bytes) -> list[tuple[bytes, bytes]]:
    """As wrk's and HAProxy's."""
    return [
        (b"host", b"127.0.0.1:8000"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]


def _microseconds(stage: Stage) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter_ns()
        stage()
        times.append(time.perf_counter_ns() - started)
    return statistics.median(times) / 1e3
