"""Faults that are a matter of load: more than is possible, and a new version under load."""

import http.client
import json
import os
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import yaml

from serve_app.ray_internals.nodes import REPLICA
from serve_app.runtime.ports import LOOPBACK
from serve_app.serve_config import ServeConfig, find_config
from studies.drill_load import Load, post
from studies.drill_service import Service
from studies.steady_load import GOOD, Answer

ROWS = 1000
"""Rows of a request: so many that one client can ask for more than a replica can do."""
CLIENTS = 8
MEASURE_SECONDS = 6.0
OVERLOAD_SECONDS = 15.0
TIMES = 3
USUAL_SECONDS = 0.5
"""A request that is answered 200 within that time finds the service recovered."""
RECOVERY_SECONDS = 15.0
DEPLOY_SECONDS = 90.0
SETTLE_SECONDS = 15.0


def overload(service: Service, load: Load) -> str:
    """Three times the requests that the service can answer, sent whether it answers or not."""
    example = json.loads(service.predict.partition(b"\r\n\r\n")[2])
    request = post("/predict/batch/", {"instances": [example] * ROWS})
    possible = _possible(service, request.partition(b"\r\n\r\n")[2])
    # In a process of its own: here it would hold up the load that measures.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        sending = pool.submit(_send, service.url, request, TIMES * possible)
        statuses, began, ended = sending.result()
    time.sleep(RECOVERY_SECONDS)
    since = time.monotonic() - load.seconds
    began, ended = began - since, ended - since
    meanwhile = [answer for answer in load.answers if began <= answer.sent <= ended]
    others = ", ".join(f"{n} x {status}" for status, n in statuses.items() if status != GOOD)
    return (
        f"{possible:.0f}/s possible, {statuses.total() / OVERLOAD_SECONDS:.0f}/s sent: "
        f"{statuses[GOOD]} x 200, {others}; single rows meanwhile: "
        f"{sum(a.status == GOOD for a in meanwhile)} of {len(meanwhile)} x 200 with p99 "
        f"{_p99(meanwhile):.1f} s; usual again after {_recovery(load.answers, ended):.1f} s"
    )


def _send(url: str, request: bytes, rate: float) -> tuple[Counter[str], float, float]:
    """What became of the requests of an overload, and when it began and ended."""
    with Load(url, request, rate) as load:
        began = time.monotonic()
        time.sleep(OVERLOAD_SECONDS)
        ended = time.monotonic()
    return Counter(answer.status for answer in load.answers), began, ended


def _possible(service: Service, body: bytes) -> float:
    """Requests/s of clients that each wait for their answers."""
    until = time.monotonic() + MEASURE_SECONDS
    answered: list[int] = []

    def ask() -> None:
        client = http.client.HTTPConnection(LOOPBACK, service.port, timeout=30)
        while time.monotonic() < until:
            client.request("POST", "/predict/batch/", body, {"content-type": "application/json"})
            answer = client.getresponse()
            answer.read()
            answered.append(answer.status)
        client.close()

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answered.count(200) / MEASURE_SECONDS


def _p99(answers: Sequence[Answer]) -> float:
    seconds = sorted(a.answered - a.sent for a in answers if a.status == GOOD)
    return seconds[int(0.99 * len(seconds))] if seconds else 0.0


def _recovery(probes: Sequence[Answer], ended: float) -> float:
    """Seconds from the end of the overload until the first of only usual answers was sent."""
    unusual = [p.sent for p in probes if p.status != GOOD or p.answered - p.sent > USUAL_SECONDS]
    return max([sent - ended for sent in unusual if sent >= ended], default=0.0)


def redeployment(service: Service, _load: Load) -> str:
    """`serve deploy` with a changed argument, which replaces the replica."""
    before = {process.pid for process in service.processes(REPLICA)}
    config = (
        ServeConfig.read(find_config())
        .at(LOOPBACK, service.port)
        .override(
            args={"model_dir": str(service.model_dir), "max_batch_rows": 32},
        )
    )
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "serve_config.yaml")
        path.write_text(yaml.safe_dump(dict(config.document)), encoding="utf-8")
        command = ["serve", "deploy", str(path), f"--address={service.dashboard_url()}"]
        environment = {**os.environ, "RAY_AUTH_MODE": "token"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"serve deploy failed: {done.stderr.strip().splitlines()[-1:]}"
    began = time.monotonic()
    while time.monotonic() < began + DEPLOY_SECONDS:
        now = {process.pid for process in service.processes(REPLICA)}
        if now and not now & before:
            took = time.monotonic() - began
            time.sleep(SETTLE_SECONDS)
            return f"another replica alone after {took:.0f} s"
        time.sleep(0.5)
    return "the replica was not replaced"
