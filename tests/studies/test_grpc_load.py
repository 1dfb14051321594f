"""Calls at a fixed rate: what became of each, and over how many connections."""

from collections import Counter
from typing import Any

import grpc
import pytest

from studies.grpc_load import GrpcLoad
from studies.steady_load import GOOD
from tests.support.grpc_service import server_of_one_method
from tests.support.waiting import wait_until

METHOD = "/a.B/Call"


@pytest.mark.parametrize(("one_of", "expected"), [(0, 1), (4, 3)])
def test_some_calls_have_a_connection_of_their_own(one_of: int, expected: int) -> None:
    """The others share one, as the calls of a client do."""
    peers = Counter[str]()

    async def answer(request: bytes, context: Any) -> bytes:
        peers[context.peer()] += 1
        return request

    with (
        server_of_one_method(answer) as server,
        GrpcLoad(server.address, METHOD, b"", rate=100, one_of=one_of) as load,
    ):
        wait_until(lambda: len(load.answers) >= 8)
    assert {each.status for each in load.answers} == {GOOD}
    assert len(load.answers) == peers.total()
    assert len(peers) >= expected
    assert one_of or len(peers) == expected


def test_a_failure_has_its_status() -> None:
    """Of a call that is refused, and of one that reaches no server."""

    async def answer(_request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        return b""

    with server_of_one_method(answer) as server:
        with GrpcLoad(server.address, METHOD, b"", rate=100) as load:
            wait_until(lambda: len(load.answers) >= 2)
        address = server.address
    assert {each.status for each in load.answers} == {"NOT_FOUND"}
    with GrpcLoad(address, METHOD, b"", rate=100, one_of=1) as load:
        wait_until(lambda: len(load.answers) >= 2)
    assert {each.status for each in load.answers} == {"UNAVAILABLE"}
