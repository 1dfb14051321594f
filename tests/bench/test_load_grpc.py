"""h2load calls a server of gRPC, and what it found is read, refusals too."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import grpc
import pytest

from bench.load import NothingAnsweredError
from bench.load_grpc import closed_loop_grpc, framed, parse_h2load
from bench.messages import Request
from serve_app.errors import UserError
from tests.support.grpc_service import server_of_one_method

OUTPUT = """\
finished in 2.00s, 50.00 req/s, 7.62KB/s
requests: 100 total, 132 started, 100 done, 98 succeeded, 2 failed, 0 errored, 0 timeout
status codes: 98 2xx, 0 3xx, 0 4xx, 2 5xx
traffic: 7.62KB (7812) total, 9.32KB (954) headers (space savings 95.05%), 0.90KB (900) data
                     min         max         mean         sd        +/- sd
"""
LOG = "1\t200\t1000\n2\t200\t3000\n"


def test_refusals_are_told_by_the_bytes_that_come() -> None:
    """Of 98 answers 90 had a message of 10 bytes; requests that failed come on top."""
    found = parse_h2load(OUTPUT, LOG, seconds=2, answer_bytes=10)
    assert (found.requests, found.failures, found.rate) == (90, 10, 45)
    assert (found.p50_ms, found.max_ms) == (2, 3)


def test_without_an_answer_there_is_no_result() -> None:
    """A server that refused every call has no latency."""
    refused = OUTPUT.replace("(900) data", "(0) data")
    with pytest.raises(NothingAnsweredError, match="100 failures"):
        parse_h2load(refused, LOG, seconds=2, answer_bytes=10)
    nothing = OUTPUT.replace("98 succeeded", "0 succeeded")
    with pytest.raises(NothingAnsweredError, match="2 failures"):
        parse_h2load(nothing, "", seconds=2, answer_bytes=10)


def test_other_output_is_an_error() -> None:
    """It is not taken for a measurement."""
    with pytest.raises(UserError, match="could not connect"):
        parse_h2load("could not connect to host\n", "", seconds=2, answer_bytes=10)


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")
def test_h2load_calls_and_counts(tmp_path: Path) -> None:
    """A real h2load sends the message and the metadata; more refusals than connections show."""
    seen, numbers, refused = set[tuple[bytes, str]](), itertools.count(1), 50

    async def answer(message: bytes, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata())
        seen.add((message, metadata["application"]))
        if next(numbers) <= refused:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        return b"12345"

    with server_of_one_method(answer) as server:
        request = Request(f"http://{server.address}/a.B/Call", b"\x00\xff", {"application": "one"})
        found = closed_loop_grpc(request, b"12345", connections=2, seconds=1, scratch=tmp_path)
    assert seen == {(b"\x00\xff", "one")}
    assert refused - 2 <= found.failures <= refused
    assert found.requests > refused
    assert found.max_ms >= found.p99_ms >= found.p50_ms > 0


def test_a_message_goes_after_its_length() -> None:
    """A byte that says that it is not compressed, and four for the length."""
    assert framed(b"abc") == b"\x00\x00\x00\x00\x03abc"
