"""HAProxy's config, and a client of it with gRPC."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from tests.runtime.grpc_replica import Replica, client_of, live
from tests.support.grpc_service import GrpcClient
from tests.support.ray_haproxy import RayConfig
from tests.support.waiting import wait_until


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def config(tmp_path: Path) -> RayConfig:
    return RayConfig(tmp_path / "node")


@pytest.fixture
def replica(stack: ExitStack) -> Replica:
    return stack.enter_context(Replica())


@pytest.fixture
def client(config: RayConfig, stack: ExitStack, replica: Replica) -> GrpcClient:
    """Of HAProxy in front of a replica that is up."""
    made = client_of(config, stack, [replica.address])
    wait_until(lambda: live(made).code is grpc.StatusCode.OK)
    return made
