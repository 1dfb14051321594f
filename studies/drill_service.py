"""A service of its own for each drill, and a steady load on it."""

import contextlib
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import psutil
import yaml

from serve_app.client import ServiceClient
from serve_app.errors import UserError
from serve_app.model.card import ModelCard
from serve_app.runtime.ports import LOOPBACK
from serve_app.runtime.processes import Command as Process
from serve_app.serve_config import ServeConfig, find_config
from studies.drill_load import Load, Result, closing, post

START_SECONDS = 150.0
STOP_SECONDS = 60.0
PROBE_SECONDS = 2.0
NO_DASHBOARD = "--no-dashboard"
DASHBOARD = re.compile(r"dashboard +(http://\S+)")


@dataclass(frozen=True)
class Service:
    """A running service, and what a drill needs of it."""

    process: Process
    url: str
    predict: bytes
    """A request that is answered 200."""
    model_dir: Path

    @property
    def port(self) -> int:
        """Its HTTP port."""
        return int(self.url.rpartition(":")[2])

    def dashboard_url(self) -> str:
        """Address of Ray's dashboard, which starts after the first answers."""
        self.process.wait_until(lambda: bool(DASHBOARD.search(self.process.log())), START_SECONDS)
        (url,) = DASHBOARD.findall(self.process.log())
        return str(url)

    def load(self, rate: float, source: str = LOOPBACK, *, fresh: bool = False) -> Load:
        """A load of predictions; if ``fresh``, each over a connection of its own."""
        return Load(self.url, closing(self.predict) if fresh else self.predict, rate, source)

    def is_ready(self) -> bool:
        """Whether it answers a prediction."""
        with ServiceClient(self.url, timeout_seconds=PROBE_SECONDS) as client:
            return client.is_ready()

    def processes(self, name: str) -> list[psutil.Process]:
        """Its processes whose command line begins with ``name``, or whose program has that name."""
        found = []
        for process in self.process.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                command = process.cmdline() or [""]
                if command[0].startswith(name) or Path(command[0]).name == name:
                    found.append(process)
        return found

    def kill(self, *names: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to processes of the service."""
        for process in [each for name in names for each in self.processes(name)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)


Fault = Callable[[Service, Load], str | None]
"""Causes a fault, waits until it should be over, and may return a note for the table."""


@dataclass(frozen=True)
class Drill:
    """A fault under a load."""

    name: str
    rate: float
    cause: Fault
    source: str = LOOPBACK
    fresh: bool = False
    """Whether every request has a connection of its own."""
    replicas: int = 1
    """How many run, at least."""
    scales: bool = True
    """Whether more of them may come."""
    dashboard: bool = False
    """Whether the service needs Ray's dashboard."""

    def command(self, words: Sequence[str], directory: Path) -> list[str]:
        """``words``, which start a service, with what this drill needs; may write a config."""
        found = [word for word in words if not (self.dashboard and word == NO_DASHBOARD)]
        if self.replicas > 1 or not self.scales:
            options = {"min_replicas": self.replicas}
            options |= {} if self.scales else {"max_replicas": self.replicas}
            config = ServeConfig.read(find_config()).override(autoscaling=options)
            path = directory / "serve_config.yaml"
            path.write_text(yaml.safe_dump(dict(config.document)), encoding="utf-8")
            found.append(f"--config={path}")
        return found

    def run(self, service: Service) -> Result:
        """Cause the fault."""
        with service.load(self.rate, self.source, fresh=self.fresh) as load:
            time.sleep(2)
            began = load.seconds
            notes = self.cause(service, load)
        return Result.of(self.name, load.answers, began, notes or "")


class Named(Protocol):
    """A drill of any kind."""

    @property
    def name(self) -> str:
        """What it does."""


AnyDrill = TypeVar("AnyDrill", bound=Named)


def choose(drills: Sequence[AnyDrill], names: Sequence[str]) -> list[AnyDrill]:
    """The drills that have one of ``names`` in theirs; all of them without a name.

    Raises:
        UserError: a name is in none.
    """
    for name in names:
        if not any(name in drill.name for drill in drills):
            known = ", ".join(drill.name for drill in drills)
            raise UserError(f"no drill has {name!r} in its name; there are: {known}")
    return [d for d in drills if not names or any(name in d.name for name in names)]


def require_model(model_dir: Path) -> None:
    """Check that there is a model to serve.

    Raises:
        UserError: there is none.
    """
    if not (model_dir / "card.json").is_file():
        raise UserError(f"{model_dir} has no model; `serve-app train --out {model_dir}` makes one")


def start_service(
    command: Sequence[str],
    port: int,
    model_dir: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> tuple[Service, Result]:
    """Start a service, asking for a prediction from the first moment on.

    Raises:
        ProcessError: it does not start.
    """
    process = Process(command, log=log, environment=environment, stop_seconds=STOP_SECONDS)
    url = f"http://{LOOPBACK}:{port}"
    card = ModelCard.model_validate_json((model_dir / "card.json").read_text(encoding="utf-8"))
    service = Service(process, url, post("/predict/", card.example), model_dir)
    with service.load(20) as load:
        process.__enter__()
        try:
            with ServiceClient(url, timeout_seconds=PROBE_SECONDS) as client:
                seconds = process.wait_until(client.is_ready, START_SECONDS)
                # The load is meant for all replicas.
                process.wait_until(lambda: "] ready" in process.log(), START_SECONDS)
        except BaseException:
            process.stop()
            raise
    answers = [answer for answer in load.answers if answer.status != "refused"]
    return service, Result.of("start, once it accepts", answers, 0, f"ready after {seconds:.0f} s")
