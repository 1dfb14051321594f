"""Load generators count what they send and what is answered, and their results are read."""

import itertools
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.client import open_loop
from bench.load import LoadResult, NothingAnsweredError, closed_loop, parse_wrk
from bench.messages import Request
from serve_app.errors import UserError
from tests.support.loopback import LoopbackServer, QuietHandler


def test_wrk_result_is_read_past_its_own_report() -> None:
    """Our line is found among wrk's, with every kind of failure added up by the script."""
    output = (
        "Running 3s test @ http://127.0.0.1:1/\n  Requests/sec:   2000.00\n"
        'BENCH {"requests": 6000, "seconds": 3.000000, "failures": 2, "p50_ms": 0.5, '
        '"p99_ms": 2.25, "max_ms": 9.0}\n'
    )
    result = parse_wrk(output)
    assert result == LoadResult(6000, 3.0, 2, p50_ms=0.5, p99_ms=2.25, max_ms=9.0)
    assert result.rate == 2000


def test_wrk_without_result_is_an_error() -> None:
    """Output of a wrk that did not run our script is not taken for a measurement."""
    with pytest.raises(UserError, match="unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_no_answer_at_all_is_an_error() -> None:
    """A system that answered nothing has no latency."""
    with pytest.raises(NothingAnsweredError, match="7 failures"):
        parse_wrk(
            'BENCH {"requests": 0, "seconds": 1, "failures": 7, "p50_ms": 0, "p99_ms": 0, '
            '"max_ms": 0}'
        )


class Server(LoopbackServer):
    """Answers POST; the status depends on how many requests came before."""

    def __init__(self, status: Callable[[int], int], *, delay: float = 0.0) -> None:
        self.bodies = bodies = list[bytes]()
        self.types = types = set[str]()
        numbers = itertools.count(1)

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
                types.add(self.headers["content-type"])
                bodies.append(self.rfile.read(int(self.headers["content-length"])))
                time.sleep(delay)
                self.answer(b"{}", status(next(numbers)))

        super().__init__(Handler)

    def request(self, body: bytes, content_type: str = "application/json") -> Request:
        return Request(f"{self.url}/predict/", body, {"content-type": content_type})


def test_open_loop_sends_what_is_due_however_slow_the_answers() -> None:
    """More requests are due than connections can carry: all are sent, and latency shows it."""
    with Server(lambda _number: 200, delay=0.2) as server:
        found = open_loop(server.request(b"{1}"), rate=1000, seconds=0.3)
    assert (found.requests, found.failures) == (300, 0)
    assert set(server.bodies) == {b"{1}"}
    # 64 connections answer 320/s: the last request is due at 0.3 s and waits for its turn.
    assert found.max_ms > 400
    assert found.late_p99_ms > 200


def test_open_loop_reports_failures() -> None:
    """Answers other than 200 are failures in the open loop too."""
    with Server(lambda number: 500 if number % 10 == 0 else 200) as server:
        found = open_loop(server.request(b"{}"), rate=200, seconds=0.2)
    assert (found.requests, found.failures) == (40, 4)


def test_open_loop_without_any_right_answer_is_an_error() -> None:
    """A system that answers nothing has no latency."""
    with Server(lambda _number: 500) as server, pytest.raises(NothingAnsweredError, match="4 fail"):
        open_loop(server.request(b"{}"), rate=20, seconds=0.2)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_runs_our_script(tmp_path: Path) -> None:
    """A real wrk posts the body, of any bytes, with its headers, and reports through our script."""
    body = b"\x00]==]\r\n\xff"
    with Server(lambda number: 500 if number == 2 else 200) as server:
        request = server.request(body, "application/octet-stream")
        result = closed_loop(request, connections=2, seconds=1, scratch=tmp_path)
    assert result.failures == 1
    assert set(server.bodies) == {body}
    assert server.types == {"application/octet-stream"}
