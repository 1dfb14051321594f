"""A real service in processes of its own, as a user would start it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil
import yaml

PROJECT = Path(__file__).parents[2]
CONFIG = PROJECT / "serve_config.yaml"


class Service:
    """Runs a command until it answers ``GET /``; a context manager that always stops it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        port: int = 8000,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log_file = directory / "service.log"
        self._command = list(command)
        self._directory = directory
        self._environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """Everything that the service has printed so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def start(self, *, seconds: float = 120) -> None:
        """Start the command and wait for the first 200; raises with the log if none comes."""
        with self.log_file.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=self._environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(self.url, timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        self.stop()
        raise AssertionError(f"{self._command} did not answer at {self.url}:\n{self.log[-5000:]}")

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and return at once."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, *, seconds: float = 90) -> int:
        """Send SIGTERM and wait; returns the exit code."""
        assert self._process is not None
        started = []
        if self._process.poll() is None:
            process = psutil.Process(self._process.pid)
            started = [process, *process.children(recursive=True)]
            self.terminate()
        try:
            return self._process.wait(seconds)
        finally:
            # serve run dies of SIGTERM without its children; whatever hangs must not disturb the
            # tests that follow.
            for process in started:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(started)


def production(
    model: Path, directory: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Service:
    """``python -m serve_app`` for ``model``."""
    # Nothing is scaled in here: stopping may be quick.
    environment = {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1", **(environment or {})}
    command = [sys.executable, "-m", "serve_app", "--no-dashboard", "--config", str(CONFIG)]
    return Service(
        [*command, f"model_dir={model}", *arguments], directory=directory, environment=environment
    )


def development(
    model: Path, directory: Path, *, environment: Mapping[str, str] | None = None, **deployment: Any
) -> Service:
    """``serve run`` of the project's config with ``model`` and other deployment options."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    application = config["applications"][0]
    application["args"]["model_dir"] = str(model)
    application["deployments"][0].update(deployment)
    path = directory / "config.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    return Service(["serve", "run", str(path)], directory=directory, environment=environment)
