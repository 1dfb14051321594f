"""A real service in processes of its own, as a user would start it."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from serve_app.client import ServiceClient
from serve_app.runtime.ports import require_free_port
from serve_app.runtime.processes import Command
from serve_app.serve_config import ServeConfig

PROJECT = Path(__file__).parents[2]
CONFIG = PROJECT / "serve_config.yaml"
SERVE = (sys.executable, "-m", "serve_app", "serve")
"""``serve-app serve``, of this clone."""
START_SECONDS = 120.0
STOP_SECONDS = 90.0
PROBE_SECONDS = 2.0


class Service(Command):
    """Runs a command until it answers its model's sample; always stops it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        port: int = 8000,
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

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self, *, seconds: float = START_SECONDS) -> None:
        """Start the command and wait until the service is ready.

        Raises:
            PortError: something else answers on its port, and would be tested in its place.
            ProcessError: it is not within ``seconds``; shows the end of the log.
        """
        require_free_port(self._port)
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


def production(
    model: Path, directory: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Service:
    """``serve-app serve`` of ``model``, with the project's config."""
    # Nothing is scaled in here: stopping may be quick.
    environment = {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1", **(environment or {})}
    command = [*SERVE, "--no-dashboard", "--config", str(CONFIG), f"model_dir={model}", *arguments]
    return Service(command, directory=directory, environment=environment)


def development(
    model: Path, directory: Path, *, environment: Mapping[str, str] | None = None
) -> Service:
    """``serve run`` of the project's config with ``model``."""
    path = write_config(directory, args={"model_dir": str(model)})
    return Service(["serve", "run", str(path)], directory=directory, environment=environment)


def write_config(directory: Path, **override: Any) -> Path:
    """The project's config with other values, see `ServeConfig.override`, as a file."""
    path = directory / "config.yaml"
    config = ServeConfig.read(CONFIG).override(**override)
    path.write_text(yaml.safe_dump(dict(config.document)), encoding="utf-8")
    return path
