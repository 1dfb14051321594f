"""Load generators count what they send and what is answered, and their results are read."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bench import BenchError, load
from bench.client import closed_loop, open_loop
from bench.load import LoadResult, NothingAnsweredError, choose_generator, parse_wrk
from serve_app.runtime.ports import free_port

Loop = Callable[[str], Awaitable[dict[str, float]]]


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
    with pytest.raises(BenchError, match="unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_no_answer_at_all_is_an_error() -> None:
    """A system that answered nothing has no latency."""
    with pytest.raises(NothingAnsweredError, match="7 failures"):
        parse_wrk(
            'BENCH {"requests": 0, "seconds": 1, "failures": 7, "p50_ms": 0, "p99_ms": 0, '
            '"max_ms": 0}'
        )


def test_missing_wrk_falls_back_to_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without wrk the benchmark runs with its own client, and says so by its name."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert choose_generator() == "bench.client"


class Server:
    """Answers HTTP requests in this process; the status depends on how many came before."""

    def __init__(self, status: Callable[[int], int], *, delay: float = 0.0) -> None:
        self.bodies: list[bytes] = []
        self._status = status
        self._delay = delay

    def run(self, loop: Loop) -> dict[str, float]:
        """Start, load with ``loop``, stop."""
        return asyncio.run(self._run(loop))

    async def _run(self, loop: Loop) -> dict[str, float]:
        port = free_port()
        server = await asyncio.start_server(self._answer, "127.0.0.1", port)
        found = await loop(f"http://127.0.0.1:{port}/predict/")
        server.close()
        return found

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                self.bodies.append(await reader.readexactly(length))
                status = self._status(len(self.bodies))
                await asyncio.sleep(self._delay)
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\n{}" % status)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def test_closed_loop_counts_answers_and_failures() -> None:
    """Answers other than 200 are failures, and every request carries the body."""
    server = Server(lambda number: 503 if number == 5 else 200)
    found = server.run(lambda url: closed_loop(url, b"{1}", connections=3, seconds=0.2))
    assert found["failures"] == 1
    assert found["requests"] > 3
    assert set(server.bodies) == {b"{1}"}


def test_open_loop_sends_what_is_due_however_slow_the_answers() -> None:
    """More requests are due than connections can carry: all are sent, and latency shows it."""
    server = Server(lambda _number: 200, delay=0.2)
    found = server.run(lambda url: open_loop(url, b"{}", rate=1000, seconds=0.3))
    assert found["requests"] == 300
    assert found["failures"] == 0
    # 64 connections answer 320/s: the last request is due at 0.3 s and waits for its turn.
    assert found["max_ms"] > 400
    assert found["late_p99_ms"] > 200


def test_open_loop_reports_failures() -> None:
    """Answers other than 200 are failures in the open loop too."""
    server = Server(lambda number: 500 if number % 10 == 0 else 200)
    found = server.run(lambda url: open_loop(url, b"{}", rate=200, seconds=0.2))
    assert (found["requests"], found["failures"]) == (40, 4)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_runs_our_script(tmp_path: Path) -> None:
    """A real wrk posts the body and reports through our script."""
    server = Server(lambda number: 500 if number == 2 else 200)

    async def run(url: str) -> dict[str, float]:
        result = await asyncio.to_thread(
            load.closed_loop, "wrk", url, b'{"a": 1}', connections=2, seconds=1, scratch=tmp_path
        )
        return {"requests": result.requests, "failures": result.failures}

    found = server.run(run)
    assert found["failures"] == 1
    assert set(server.bodies) == {b'{"a": 1}'}
