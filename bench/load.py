"""Runs a load generator in a process of its own and reads its result."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench import PROJECT, BenchError

Generator = Literal["wrk", "bench.client"]

GRACE_SECONDS = 60.0
RESULT_MARK = "BENCH "
# wrk prints rounded numbers with units; its script interface has them exact.
WRK_SCRIPT = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[{body}]==]
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{mark}{{"requests": %d, "seconds": %f, "failures": %d, "p50_ms": %f, "p99_ms": %f, ' ..
    '"max_ms": %f}}\\n',
    summary.requests, summary.duration / 1e6,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
"""


class NothingAnsweredError(BenchError):
    """No request was answered in the time given."""


@dataclass(frozen=True)
class LoadResult:
    """What one run of a load generator found; times in milliseconds unless named otherwise."""

    requests: int
    seconds: float
    failures: int
    """Answers other than 200, connection errors and time-outs."""
    p50_ms: float
    p99_ms: float
    max_ms: float
    late_p99_ms: float = 0.0
    """How late the open loop sent, at the 99th percentile; part of the latencies."""

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds


def choose_generator() -> Generator:
    """Wrk if it is installed, else the client in Python."""
    return "wrk" if shutil.which("wrk") else "bench.client"


def closed_loop(
    generator: Generator,
    url: str,
    body: bytes,
    *,
    connections: int,
    seconds: int,
    scratch: Path,
) -> LoadResult:
    """Load ``url`` with ``connections`` that send again as soon as they are answered.

    Raises:
        NothingAnsweredError: no request was answered in time.
        BenchError: the generator fails.
    """
    if generator == "bench.client":
        arguments = ["closed", url, "--connections", str(connections), "--seconds", str(seconds)]
        return _run_client(arguments, body, seconds)
    script = scratch / "wrk.lua"
    script.write_text(WRK_SCRIPT.format(body=body.decode(), mark=RESULT_MARK), encoding="utf-8")
    # Without --timeout wrk counts answers slower than 2 s as failed.
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    return parse_wrk(_run([*command, "-s", str(script), url], b"", seconds))


def open_loop(url: str, body: bytes, *, rate: float, seconds: int) -> LoadResult:
    """Load ``url`` with ``rate`` requests/s at fixed times; latencies count from those times.

    Raises:
        BenchError: the generator fails, or no request was answered.
    """
    arguments = ["open", url, "--rate", str(rate), "--seconds", str(seconds)]
    return _run_client(arguments, body, seconds)


def parse_wrk(output: str) -> LoadResult:
    """Result in the output of wrk with our script.

    Raises:
        BenchError: there is none, or no request was answered.
    """
    lines = [line for line in output.splitlines() if line.startswith(RESULT_MARK)]
    if not lines:
        raise BenchError(f"wrk printed no result: {output.strip()[-300:]!r}")
    return _result(json.loads(lines[-1].removeprefix(RESULT_MARK)))


def _run_client(arguments: Sequence[str], body: bytes, seconds: int) -> LoadResult:
    command = [sys.executable, "-m", "bench.client", *arguments]
    return _result(json.loads(_run(command, body, seconds)))


def _run(command: Sequence[str], given: bytes, seconds: int) -> str:
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            cwd=PROJECT,
            timeout=seconds + GRACE_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        tail = error.stderr.decode(errors="replace").strip()[-500:]
        raise BenchError(
            f"{command[0]} failed with exit code {error.returncode}: {tail}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{command[0]} did not end after {error.timeout:.0f} s") from error
    return done.stdout.decode()


def _result(found: dict[str, Any]) -> LoadResult:
    if not found["requests"]:
        raise NothingAnsweredError(f"no request was answered ({found['failures']} failures)")
    return LoadResult(**found)
