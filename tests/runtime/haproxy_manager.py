"""HAProxy, started as Ray's manager starts it, and its clients."""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psutil

from serve_app.ray_internals.haproxy import HAPROXY
from serve_app.runtime.haproxy import proxies_of
from serve_app.runtime.haproxy_admin import pid_at
from serve_app.runtime.haproxy_watchdog import STARTING, WATCHDOG
from serve_app.runtime.processes import named
from tests.support.ray_haproxy import RayConfig
from tests.support.waiting import wait_until

PROGRAM = (sys.executable, "-m", "serve_app.runtime.ingress")
MANAGER = """\
import subprocess, sys
for line in sys.stdin:
    process = subprocess.Popen(line.split(), stdout=subprocess.DEVNULL)
    print(process.pid, flush=True)
"""


class Manager:
    """A process that starts HAProxy as Ray's manager does, and can be killed as it can.

    Args:
        config: what Ray writes.
        log: takes the manager's standard error.
    """

    def __init__(self, config: RayConfig, log: Path) -> None:
        self.config = config
        self._pid: int | None = None
        with log.open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-c", MANAGER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def start(self) -> int:
        """Start HAProxy in place of the last one; returns its process id when it answers."""
        command = [*PROGRAM, "-db", "-f", str(self.config.path), "-dR"]
        if self._pid is not None:
            command += ["-sf", str(self._pid), "-x", str(self.config.admin_socket)]
        assert self._process.stdin
        assert self._process.stdout
        print(*command, file=self._process.stdin, flush=True)
        self._pid = int(self._process.stdout.readline())
        wait_until(lambda: pid_at(self.config.admin_socket) == self._pid)
        # The watchdog sees it a moment later, and only then starts a stand-in.
        wait_until(lambda: not named(proxies_of(self.config.path.parent.name), STARTING))
        return self._pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End without a word to HAProxy."""
        with self._process as process:
            process.kill()


@contextmanager
def clients(port: int) -> Iterator[Counter[str]]:
    """One request after the other, each over a new connection; what became of them."""
    outcomes: Counter[str] = Counter()
    ended = threading.Event()

    def send() -> None:
        while not ended.is_set():
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                client.request("GET", "/")
                outcomes[str(client.getresponse().status)] += 1
            except OSError as error:
                outcomes[type(error).__name__] += 1
            finally:
                client.close()
            time.sleep(0.005)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield outcomes
    finally:
        ended.set()
        thread.join()


def answers(port: int) -> bool:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        client.request("GET", "/")
        return client.getresponse().status == 200
    except OSError:
        return False
    finally:
        client.close()


def watchdogs(config: RayConfig) -> list[psutil.Process]:
    return named(proxies_of(config.path.parent.name), WATCHDOG)


def proxies(config: RayConfig) -> set[int]:
    return {found.pid for found in named(proxies_of(config.path.parent.name), HAPROXY)}


def warnings(log: Path) -> list[str]:
    """What the log of the manager shows, as events."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["message"] for line in lines if line.startswith("{")]
