"""A real service in processes of its own, as a user would start it."""

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from serve_app.client import ServiceClient
from serve_app.runtime.ports import FIXED_PORTS, PortError, require_free_port
from serve_app.runtime.processes import Command
from serve_app.serve_config import DEFAULT_GRPC_PORT, DEFAULT_PORT, ServeConfig

PROJECT = Path(__file__).parents[2]
CONFIG = PROJECT / "serve_config.yaml"
PROGRAM = (sys.executable, "-m", "serve_app")
"""``serve-app`` of this clone."""
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_OFFSET = 20 * (_WORKER + 1)  # some of Ray's ports are ten apart
PORT = DEFAULT_PORT + _OFFSET
"""Of services of this worker: others run beside them, and so may a user's own on the usual port."""
_FIRST_CLIENT_PORT = 32768
"""Linux gives these to connections that go out, any of which may have one that a service wants."""
PORTS: Mapping[str, str] = {
    name: str(_OFFSET + (port if port < _FIRST_CLIENT_PORT else port - 20_000))
    for name, port in FIXED_PORTS.items()
}
"""Variables that move Ray's own ports as far. A free one that ``--port`` alone chooses may be taken
by Ray for something else before HAProxy listens on it."""
START_SECONDS = 120.0
STOP_SECONDS = 90.0
PROBE_SECONDS = 2.0
PORT_SECONDS = 10.0


class Service(Command):
    """Runs a command until it answers its model's sample; always stops it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        port: int = PORT,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            command,
            log=directory / "service.log",
            environment={"RAY_USAGE_STATS_ENABLED": "0", **(environment or {})},
            directory=directory,
            stop_seconds=STOP_SECONDS,
        )
        self._port = port
        self.url = f"http://127.0.0.1:{port}"
        self.grpc_address = f"127.0.0.1:{port + DEFAULT_GRPC_PORT - DEFAULT_PORT}"
        """Of a service with the project's config."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self, *, seconds: float = START_SECONDS) -> None:
        """Start the command and wait until the service is ready.

        Raises:
            PortError: something else answers on its port, and would be tested in its place.
            ProcessError: it is not within ``seconds``; shows the end of the log.
        """
        _wait_for_port(self._port)
        super().__enter__()
        try:
            with ServiceClient(self.url, timeout_seconds=PROBE_SECONDS) as client:
                self.wait_until(client.is_ready, seconds)
        except BaseException:
            self.stop()
            raise

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and return at once."""
        os.kill(self.pid, number)


def serve_command(model: Path, *arguments: str) -> list[str]:
    """``serve-app serve`` of ``model`` on `PORT`, with the project's config; it needs `PORTS`."""
    options = ["--port", str(PORT), "--config", str(CONFIG)]
    return [*PROGRAM, "serve", *options, f"model_dir={model}", *arguments]


def production(
    model: Path, directory: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Service:
    """A service of `serve_command`, without a dashboard."""
    return Service(
        serve_command(model, "--no-dashboard", *arguments),
        directory=directory,
        environment={
            **PORTS,
            # Nothing is scaled in here: stopping may be quick.
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
            **(environment or {}),
        },
    )


def development(
    model: Path,
    directory: Path,
    *,
    args: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Service:
    """``serve run`` of the project's config with ``model`` and other ``args``."""
    path = write_config(directory, args={"model_dir": str(model), **(args or {})})
    environment = {**PORTS, **(environment or {})}
    return Service(["serve", "run", str(path)], directory=directory, environment=environment)


def write_config(directory: Path, **override: Any) -> Path:
    """The project's config on `PORT`, with other values, see `ServeConfig.override`, as a file."""
    path = directory / "config.yaml"
    config = ServeConfig.read(CONFIG)
    host = config.document["http_options"]["host"]
    config = config.at(host, PORT).override(**override)
    path.write_text(yaml.safe_dump(dict(config.document)), encoding="utf-8")
    return path


def _wait_for_port(port: int) -> None:
    """Wait a little for what a service of an earlier test has left behind on a busy machine.

    Raises:
        PortError: something else has the port.
    """
    deadline = time.monotonic() + PORT_SECONDS
    while True:
        try:
            require_free_port(port)
        except PortError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
