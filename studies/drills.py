"""Break a running service on purpose, one fault at a time, and count what its clients notice.

Each fault is a function. It runs under a steady load against a service of its own; the table says
what became of the requests.
"""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from serve_app.cli.main import run
from serve_app.cli.style import DIRECTORY, PORT, Command
from serve_app.ray_internals.nodes import FALLBACK_PROXY, REPLICA
from serve_app.runtime.ports import LOOPBACK
from serve_app.runtime.signals import stopped_by_signals
from studies.drill_load import Load, Result, by_status, head_of
from studies.drill_service import (
    STOP_SECONDS,
    Drill,
    Fault,
    Service,
    choose,
    require_model,
    start_service,
)
from studies.load_drills import overload, redeployment

CONNECTIONS = 4096
"""What Ray Serve allows HAProxy by default."""
BUSY_PROCESSES = 40
OTHER_SOURCE = "127.0.0.2"
"""Another client of this machine."""


HEAD = head_of("/predict/")
BODY = HEAD + b"content-length: 5000\r\n\r\n"


@contextmanager
def many_connections(service: Service) -> Iterator[list[socket.socket]]:
    """As many connections as the service may take by default."""
    opened: list[socket.socket] = []
    try:
        for _ in range(CONNECTIONS):
            client = socket.socket()
            opened.append(client)
            client.setblocking(False)  # noqa: FBT003 - positional only
            with contextlib.suppress(BlockingIOError):
                client.connect((LOOPBACK, service.port))
        yield opened
    finally:
        for client in opened:
            client.close()


def drip(clients: Sequence[socket.socket], start: bytes, seconds: float) -> None:
    """Send ``start`` over every connection, then a byte a second."""
    part, until = start, time.monotonic() + seconds
    while time.monotonic() < until:
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(part)
        part = b"x"
        time.sleep(1)


def idle_connections(service: Service, _load: Load) -> None:
    """4,096 connections without a byte, for 30 s."""
    with many_connections(service):
        time.sleep(30)


def dripping_heads(service: Service, _load: Load) -> None:
    """4,096 clients that send their headers a byte a second, for 30 s."""
    with many_connections(service) as clients:
        drip(clients, HEAD, 30)


def dripping_bodies(service: Service, _load: Load) -> None:
    """4,096 clients that send their bodies a byte a second, for 30 s."""
    with many_connections(service) as clients:
        drip(clients, BODY, 30)


def used_connections(service: Service, _load: Load) -> None:
    """4,096 connections that have had a request each, for 30 s."""
    with many_connections(service) as clients:
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(b"GET /-/healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(30)


def busy_machine(_service: Service, _load: Load) -> str:
    """14 processes that compute, for 40 s."""
    command = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(command) for _ in range(BUSY_PROCESSES)]
    try:
        time.sleep(40)
        return f"load average {os.getloadavg()[0]:.0f}"
    finally:
        for process in busy:
            process.kill()
            process.wait()


def slow_machine(service: Service, _load: Load) -> None:
    """Whatever could answer does nothing for 4 s, four times: a machine that is far too busy."""
    names = (REPLICA, FALLBACK_PROXY)
    for _ in range(4):
        service.kill(*names, number=signal.SIGSTOP)
        time.sleep(4)
        service.kill(*names, number=signal.SIGCONT)
        time.sleep(4)


def killed(*names: str, seconds: float = 45) -> Fault:
    """Processes are killed."""

    def cause(service: Service, _load: Load) -> None:
        service.kill(*names)
        time.sleep(seconds)

    return cause


def stopped_replica(service: Service, _load: Load) -> None:
    """The replica does nothing for 30 s."""
    service.kill(REPLICA, number=signal.SIGSTOP)
    time.sleep(30)
    service.kill(REPLICA, number=signal.SIGCONT)
    time.sleep(15)


def killed_replica(service: Service, _load: Load) -> str:
    """The only replica is killed; the health check is asked, too."""
    return _with_health(service, lambda: service.kill(REPLICA), 20)


def killed_one_replica(service: Service, _load: Load) -> str:
    """One of two replicas is killed, three times."""
    for _ in range(3):
        service.processes(REPLICA)[0].kill()
        time.sleep(15)
    return f"{len(service.processes(REPLICA))} replicas run"


def stop_under_load(service: Service, load: Load) -> str:
    """SIGTERM to the launcher."""
    began = load.seconds
    os.kill(service.process.pid, signal.SIGTERM)
    while service.process.exit_code is None and load.seconds - began < STOP_SECONDS:
        time.sleep(0.05)
    took = load.seconds - began
    return f"ended after {took:.1f} s, exit code {service.process.exit_code}"


def _with_health(service: Service, cause: Callable[[], None], seconds: float) -> str:
    request = b"GET /-/healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    with Load(service.url, request, rate=10) as health:
        cause()
        time.sleep(seconds)
    result = Result.of("", health.answers, 0)
    failed = by_status(result.failed) if result.failed else "always 200"
    return f"healthz: {failed} of {result.requests}"


DRILLS: Sequence[Drill] = (
    Drill("4,096 idle connections", 20, idle_connections, fresh=True),
    Drill("4,096 idle connections, another client", 20, idle_connections, OTHER_SOURCE, fresh=True),
    Drill("4,096 dripping heads", 20, dripping_heads, fresh=True),
    Drill("4,096 dripping bodies", 20, dripping_bodies, fresh=True),
    Drill("4,096 used connections", 20, used_connections, fresh=True),
    Drill("busy machine", 150, busy_machine),
    Drill("all replicas and proxies pause for 4 s", 20, slow_machine),
    Drill("HAProxy killed", 200, killed("haproxy")),
    Drill("HAProxy's manager killed", 200, killed("ray::HAProxyManager")),
    Drill("HAProxy and its manager killed", 200, killed("ray::HAProxyManager", "haproxy")),
    Drill("only replica stopped for 30 s", 20, stopped_replica),
    Drill("only replica killed", 200, killed_replica),
    Drill("one of two replicas killed, three times", 200, killed_one_replica, replicas=2),
    Drill(
        "the same, a new connection per request", 100, killed_one_replica, fresh=True, replicas=2
    ),
    Drill("overload, three times what one replica can do", 10, overload, scales=False),
    Drill("serve deploy of a changed config", 100, redeployment, dashboard=True),
    Drill("SIGTERM", 200, stop_under_load),
)


@click.command(cls=Command, example="python -m studies.drills --only 'busy machine'")
@click.option("--model-dir", type=DIRECTORY, default=Path("model"), help="Model to serve.")
@click.option("--port", type=PORT, default=8000, help="HTTP port.")
@click.option("--command", default="serve-app serve --no-dashboard", help="Starts the service.")
@click.option("--only", "names", multiple=True, help="Only faults with this in their name.")
def drills(*, model_dir: Path, port: int, command: str, names: tuple[str, ...]) -> None:
    """Break a service on purpose, and print what its clients noticed.

    Every fault has a new service, one after the other; all of them take a quarter of an hour.
    """
    chosen, model_dir = choose(DRILLS, names), model_dir.resolve()
    require_model(model_dir)
    words = [*shlex.split(command), f"--port={port}", f"model_dir={model_dir}"]
    click.echo(Result.HEADER)
    for drill in chosen:
        with stopped_by_signals(), tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            command_line = drill.command(words, directory)
            service, start = start_service(command_line, port, model_dir, directory / "log")
            try:
                result = drill.run(service)
            finally:
                stopping = time.monotonic()
                service.process.stop()
        click.echo(start.row)
        stop = f"stop: {time.monotonic() - stopping:.0f} s"
        click.echo(result.noting(stop).row)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return run(drills, arguments, name="python -m studies.drills")


if __name__ == "__main__":
    sys.exit(main())
