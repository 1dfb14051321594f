"""What a load costs a contestant, and what it has in memory."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import psutil

from bench.contestants import Contestant
from bench.load import LoadResult
from bench.usage import CpuClock, pss_bytes, titled
from serve_app.ray_internals.haproxy import HAPROXY
from serve_app.ray_internals.nodes import REPLICA


def with_cpu(contestant: Contestant, load: Callable[[], LoadResult]) -> dict[str, float]:
    """What a load found, with ``rate`` and the processor time of the contestant per request.

    That is all of it, and, of a system in Ray, its replica's and the proxy's.
    """
    clock = CpuClock(contestant.tree)
    result = load()
    use = clock.read()
    cpu = {"cpu_us": use.of()}
    if replica := use.of(f"{REPLICA}:{contestant.application or contestant.name}:"):
        cpu |= {"cpu_replica_us": replica, "cpu_proxy_us": use.of(HAPROXY)}
    per_request = {name: seconds / result.requests * 1e6 for name, seconds in cpu.items()}
    return {**asdict(result), "rate": result.rate, **per_request}


def megabytes(processes: Sequence[psutil.Process]) -> dict[str, float]:
    """Memory of a system, and, if it is in Ray, of its replica."""
    found = {"pss_mb": pss_bytes(processes) / 2**20}
    if replicas := titled(processes, REPLICA):
        found["replica_mb"] = pss_bytes(replicas) / 2**20
    return found
