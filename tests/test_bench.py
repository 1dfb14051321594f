"""The benchmark's arithmetic, its reading of load generators, and its command line."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench import load, report
from bench.__main__ import main
from bench.client import closed_loop, open_loop
from bench.load import LoadResult, NothingAnsweredError, choose_generator, parse_wrk
from bench.measures import Sample
from bench.processes import BenchError, Process, free_port
from bench.ray_host import RayApplication, many_applications
from bench.stats import Spread, percentile, ratio
from bench.systems import CONFIG

Loop = Callable[[str], Any]


def test_spread_is_median_and_range() -> None:
    """A spread does not depend on the order of its values."""
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0)


def test_spread_of_nothing_is_refused() -> None:
    """No measurement is not a measurement of 0."""
    with pytest.raises(ValueError, match="at least one value"):
        Spread.of([])


def test_ratio_pairs_rounds() -> None:
    """Values are divided within their round: a drift common to both cancels."""
    assert ratio({1: 10.0, 2: 100.0, 3: 7.0}, {1: 5.0, 2: 50.0}) == Spread(2.0, 2.0, 2.0)


def test_ratio_without_common_round_is_none() -> None:
    """Rounds that one of both lacks are not compared."""
    assert ratio({1: 1.0}, {2: 1.0}) is None


@given(
    st.lists(st.floats(0, 1e6), min_size=1),
    st.floats(min_value=0, max_value=1, exclude_min=True),
)
def test_percentile_is_reached_by_its_share(values: list[float], share: float) -> None:
    """At least the share of values is at or below the percentile, and fewer are below it."""
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert sum(value <= found for value in ordered) >= share * len(ordered)
    assert sum(value < found for value in ordered) < share * len(ordered)


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


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--frobnicate"], "--frobnicate"),
        (["--only", "weather"], "weather"),
        (["--seconds", "0"], "'0' is not a whole number above 0"),
        (["--rounds", "many"], "'many' is not a whole number above 0"),
        (["--out", __file__], "name a directory"),
    ],
)
def test_bad_option_is_one_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad option ends the program with code 2 and one line, before anything is started."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert complaint in errors
    assert errors.count("\n") == 1


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
        found: dict[str, float] = await loop(f"http://127.0.0.1:{port}/predict/")
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


def test_process_that_ends_early_is_an_error_with_its_log(tmp_path: Path) -> None:
    """A server that cannot start is reported with what it said."""
    command = ["python", "-c", "raise SystemExit('no such model')"]
    process = Process("server", command, logs=tmp_path)
    with pytest.raises(BenchError, match="no such model"), process:
        process.wait_until(lambda: False)


def test_applications_share_the_deployment_options() -> None:
    """Whatever runs in one Ray differs by name, arguments and environment only."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    made = many_applications(
        config,
        [
            RayApplication("one", "a:b", "A", {"x": 1}),
            RayApplication("two", "c:d", "B", {}, {"VARIABLE": "1"}),
        ],
        port=1234,
    )
    first, second = (application["deployments"][0] for application in made["applications"])
    assert made["http_options"]["port"] == 1234
    assert [application["route_prefix"] for application in made["applications"]] == ["/one", "/two"]
    assert (first.pop("name"), second.pop("name")) == ("A", "B")
    assert first.pop("ray_actor_options")["runtime_env"] == {"env_vars": {}}
    assert second.pop("ray_actor_options")["runtime_env"] == {"env_vars": {"VARIABLE": "1"}}
    assert first == second
    assert first["max_ongoing_requests"] > 0
    (template,) = config["applications"]
    assert all(
        each["logging_config"] == template["logging_config"] for each in made["applications"]
    )


def _samples(ours: dict[int, float], ceiling: dict[int, float]) -> list[Sample]:
    return [
        Sample(
            "throughput-32",
            system,
            number,
            {"rate": rate, "p50_ms": 1.0, "p99_ms": 2.0, "failures": 0},
        )
        for system, rates in (("ours-lr-onnx", ours), ("ceiling", ceiling))
        for number, rate in rates.items()
    ]


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ({1: 90.0, 2: 180.0}, "reached"),
        ({1: 80.0, 2: 160.0}, "NOT reached"),
        ({1: 80.0, 2: 190.0}, "reached (range crosses it)"),
    ],
)
def test_goal_verdict(ours: dict[int, float], verdict: str) -> None:
    """A goal is judged by the median of its rounds, and the range says how surely."""
    ((goal, found),) = report.goal_results(_samples(ours, {1: 100.0, 2: 200.0}))
    assert goal.limit == 0.85
    assert goal.verdict(found) == verdict


def test_report_shows_what_was_measured_and_nothing_else() -> None:
    """Tables of measures that were left out are left out; failed requests are named."""
    samples = _samples({1: 90.0}, {1: 100.0})
    failed = Sample("throughput-32", "tuned-lr", 1, {**samples[0].values, "failures": 3.0})
    text = report.render([*samples, failed], report.machine(), "wrk")
    assert "| ours-lr-onnx | 90.0 (90.0 to 90.0)" in text
    assert "0.90 (0.90 to 0.90)" in text
    assert "3 requests failed**: throughput-32, tuned-lr" in text
    assert "Start and memory" not in text
    assert report.failures([*samples, failed]) == 3
