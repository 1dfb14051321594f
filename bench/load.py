"""The closed loop over HTTP: wrk, in a process of its own."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.messages import Request
from serve_app.errors import UserError

GRACE_SECONDS = 60.0
RESULT_MARK = "BENCH "
# wrk prints rounded numbers with units; its script interface has them exact.
WRK_SCRIPT = """\
wrk.method = "POST"
{headers}
local file = assert(io.open([==[{body}]==], "rb"))
wrk.body = file:read("*a")
file:close()
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


class NothingAnsweredError(UserError):
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


def closed_loop(request: Request, *, connections: int, seconds: int, scratch: Path) -> LoadResult:
    """Send ``request`` over ``connections``, on each again as soon as it is answered.

    Raises:
        NothingAnsweredError: no request was answered in time.
        UserError: wrk fails.
    """
    script, body = scratch / "wrk.lua", scratch / "wrk.body"
    body.write_bytes(request.body)
    headers = "\n".join(
        f"wrk.headers[ [==[{name}]==] ] = [==[{value}]==]"
        for name, value in request.headers.items()
    )
    text = WRK_SCRIPT.format(headers=headers, body=body, mark=RESULT_MARK)
    script.write_text(text, encoding="utf-8")
    # Without --timeout wrk counts answers slower than 2 s as failed.
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    return parse_wrk(run_generator([*command, "-s", str(script), request.url], seconds))


def run_generator(command: Sequence[str], seconds: float) -> str:
    """What a load generator prints that is to run for ``seconds``.

    Raises:
        UserError: it fails, or does not end.
    """
    name = command[0]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + GRACE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{name} did not end after {error.timeout:.0f} s") from error
    if done.returncode:
        tail = done.stderr.strip()[-500:]
        raise UserError(f"{name} failed with exit code {done.returncode}: {tail}")
    return done.stdout


def parse_wrk(output: str) -> LoadResult:
    """Result in the output of wrk with our script.

    Raises:
        UserError: there is none, or no request was answered.
    """
    _, mark, found = output.rpartition(RESULT_MARK)
    if not mark:
        raise UserError(f"wrk printed no result: {output.strip()[-300:]!r}")
    result = LoadResult(**json.loads(found))
    if not result.requests:
        raise NothingAnsweredError(f"no request was answered ({result.failures} failures)")
    return result
