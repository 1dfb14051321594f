"""The floor of gRPC answers what it is told to."""

from collections.abc import Awaitable
from typing import Any

from bench.contestants import Contestant
from bench.floor_grpc import start
from bench.models import BATCH_ROWS, BenchModel
from bench.open_inference import GrpcOpenInference, constant_answer
from serve_app.runtime.ports import free_port
from tests.support.grpc_service import GrpcServer


def test_a_constant_is_the_answer_to_the_sample(models: dict[str, BenchModel]) -> None:
    """As a service would answer it, so that it is as long; and to everything else."""
    model = models["lr"]

    def started(port: int) -> Awaitable[Any]:
        return start(port, constant_answer(model))

    with GrpcServer(started, free_port()) as server:
        url = f"http://{server.address}"
        contestant = Contestant("floor", url, model, dialect=GrpcOpenInference())
        contestant.check()
        found = contestant.dialect.transport.exchange(contestant.request(BATCH_ROWS))
    assert found.body == constant_answer(model)
