"""The closed loop over gRPC: h2load, in a process of its own.

A client of gRPC in Python takes more processor time for a call than the servers here; h2load sends
the bytes of one call again and again, as wrk does. It knows nothing of gRPC: a refusal is a 200 to
it, whose status is in the trailers. But a refusal has no message, which the count of bytes shows.
"""

import re
from pathlib import Path

import numpy as np

from bench.load import LoadResult, NothingAnsweredError, run_generator
from bench.messages import Request
from serve_app.errors import UserError

LENGTH_BYTES = 4
FIELDS = re.compile(
    r"^finished in \S+, (?P<rate>[\d.]+) req/s.*"
    r"^requests: .* (?P<succeeded>\d+) succeeded, (?P<failed>\d+) failed, .*"
    r"^traffic: .* \((?P<data>\d+)\) data$",
    re.MULTILINE | re.DOTALL,
)


def framed(message: bytes) -> bytes:
    """A message as it is sent: not compressed, and after its length.

    Source: "Length-Prefixed-Message" in PROTOCOL-HTTP2.md of gRPC.
    """
    return b"\0" + len(message).to_bytes(LENGTH_BYTES, "big") + message


def closed_loop_grpc(
    request: Request, answer: bytes, *, connections: int, seconds: int, scratch: Path
) -> LoadResult:
    """Call over ``connections``, on each again as soon as it is answered.

    Args:
        request: what is sent.
        answer: the message that comes; each that was answered is as long.
        connections: number of connections with one call under way.
        seconds: length of the load.
        scratch: directory for files.

    Raises:
        NothingAnsweredError: no call was answered in time.
        UserError: h2load fails.
    """
    body, log = scratch / "h2load.body", scratch / "h2load.log"
    body.write_bytes(framed(request.body))
    log.unlink(missing_ok=True)
    headers = {"content-type": "application/grpc", "te": "trailers", **request.headers}
    command = ["h2load", "-t1", f"-c{connections}", "-m1", f"-D{seconds}", f"--data={body}"]
    command += [f"--header={name}: {value}" for name, value in headers.items()]
    output = run_generator([*command, f"--log-file={log}", request.url], seconds)
    return parse_h2load(output, log.read_text(encoding="ascii"), seconds, len(framed(answer)))


def parse_h2load(output: str, log: str, seconds: float, answer_bytes: int) -> LoadResult:
    """Result in what h2load prints, and in its log of a line for each request.

    Args:
        output: what it prints.
        log: start in us, HTTP status and duration in us of each request.
        seconds: length of the load.
        answer_bytes: of a right answer. Answers under way at the end are counted, too, so up to
            one refusal for each connection may be missed.

    Raises:
        UserError: there is no result, or no call was answered.
    """
    found = FIELDS.search(output)
    if not found:
        raise UserError(f"h2load printed no result: {output.strip()[-300:]!r}")
    succeeded, failed, data = (int(found[name]) for name in ("succeeded", "failed", "data"))
    refused = max(0, succeeded - data // answer_bytes)
    durations = [int(line.split("\t")[2]) for line in log.splitlines()]
    if not durations or refused == succeeded:
        raise NothingAnsweredError(f"no call was answered ({refused + failed} failures)")
    p50, p99, highest = np.percentile(durations, (50, 99, 100)).tolist()
    return LoadResult(
        requests=succeeded - refused,
        seconds=seconds,
        failures=failed + refused,
        p50_ms=p50 / 1e3,
        p99_ms=p99 / 1e3,
        max_ms=highest / 1e3,
    )
