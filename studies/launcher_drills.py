"""Break the launcher, or what it has started, and see what it says, how it ends and what is left.

Each fault has a service of its own. `studies.drills` counts what becomes of requests.
"""

import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import psutil

from serve_app.cli.main import run
from serve_app.cli.style import DIRECTORY, PORT, Command
from serve_app.client import ServiceClient
from serve_app.ray_internals.nodes import CONTROLLER, GCS, RAYLET, REPLICA
from serve_app.runtime.ports import LOOPBACK, listens
from serve_app.runtime.processes import Command as Process
from serve_app.runtime.processes import in_session
from serve_app.runtime.signals import stopped_by_signals
from studies.drill_service import choose, require_model

START_SECONDS = 150.0
WATCH_SECONDS = 60.0
"""What has not ended by then goes on."""
LATE_SECONDS = 45.0
"""Longer than Ray itself waits for its raylet."""
POLL_SECONDS = 0.05
STATISTICS_PORT = 8404
"""HAProxy's, which Serve fixes."""
HEADER = (
    "| fault | port closed after s | ended after s | exit code | processes left | load average | "
    "last line |\n|---|---|---|---|---|---|---|"
)


class Launcher:
    """A launcher and the processes that it has started."""

    def __init__(self, process: Process, port: int, model_dir: Path) -> None:
        self.process = process
        self.port = port
        self.model_dir = model_dir
        self._seen: set[psutil.Process] = set()

    @property
    def leader(self) -> psutil.Process:
        """The process that runs Ray; it leads the session of all others."""
        (leader,) = psutil.Process(self.process.pid).children()
        return leader

    def kill(self, title: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the processes whose name begins with ``title``, once there is one."""
        while not (found := [p for p in self.process.tree() if p.name().startswith(title)]):
            if self.process.exit_code is not None:
                return
            time.sleep(POLL_SECONDS)
        for process in found:
            process.send_signal(number)

    def note(self) -> None:
        """Remember the processes that run now."""
        self._seen.update(self.process.tree()[1:])

    def left(self) -> list[psutil.Process]:
        """Processes that still run, also those that were started meanwhile."""
        sessions = {process.pid for process in self._seen}
        found = {process for leader in sessions for process in in_session(leader)}
        return [p for p in self._seen | found if p.is_running() and p.status() != "zombie"]


Fault = Callable[[Launcher], None]


def killed(title: str) -> Fault:
    """Kill a process by its name."""
    return lambda launcher: launcher.kill(title)


def kill_launcher(launcher: Launcher) -> None:
    """Kill the first process."""
    os.kill(launcher.process.pid, signal.SIGKILL)


def kill_leader(launcher: Launcher) -> None:
    """Kill the second process, which runs Ray."""
    launcher.leader.kill()


def kill_both(launcher: Launcher) -> None:
    """Kill both of them; nobody is left who could clean up."""
    leader = launcher.leader
    kill_launcher(launcher)
    leader.kill()


def stop_group(launcher: Launcher) -> None:
    """SIGTERM to the process group, as a shell sends it."""
    os.killpg(launcher.process.pid, signal.SIGTERM)


def stop_everything(launcher: Launcher) -> None:
    """SIGTERM to every process, as systemd sends it to a unit by default."""
    for process in launcher.process.tree():
        process.terminate()


def signalled(number: signal.Signals) -> Fault:
    """Send a signal to the launcher as soon as Ray starts."""

    def cause(launcher: Launcher) -> None:
        launcher.kill(GCS, number=signal.SIGCONT)
        launcher.note()
        os.kill(launcher.process.pid, number)

    return cause


def late_raylet(launcher: Launcher) -> None:
    """The raylet does nothing for a while when it starts."""
    launcher.kill(RAYLET, number=signal.SIGSTOP)
    time.sleep(LATE_SECONDS)
    launcher.kill(RAYLET, number=signal.SIGCONT)


def taken_port(launcher: Launcher) -> None:
    """Another program takes a port between the launcher's check and HAProxy's start."""
    launcher.kill(GCS, number=signal.SIGCONT)
    owner = socket.create_server(("", STATISTICS_PORT))
    timer = threading.Timer(WATCH_SECONDS, owner.close)
    timer.daemon = True
    timer.start()


def spoiled_model(launcher: Launcher) -> None:
    """A file of the model changes, and the replica is killed; then the file is put back."""
    (model,) = launcher.model_dir.glob("*.onnx")
    content = model.read_bytes()
    model.write_bytes(content + b"x")
    launcher.kill(REPLICA)
    time.sleep(20)
    model.write_bytes(content)


@dataclass(frozen=True)
class Drill:
    """A fault, and when it is caused."""

    name: str
    cause: Fault
    at_start: bool = False
    """While the service starts, and not when it is ready."""

    def run(self, launcher: Launcher) -> str:
        """Cause the fault; returns a row of the table."""
        if not self.at_start:
            with ServiceClient(f"http://{LOOPBACK}:{launcher.port}", timeout_seconds=2) as client:
                launcher.process.wait_until(client.is_ready, START_SECONDS)
                launcher.process.wait_until(lambda: "] ready" in launcher.process.log(), 20)
        launcher.note()
        load = os.getloadavg()[0]
        began = time.monotonic()
        self.cause(launcher)
        closed: float | None = None
        ended: float | None = None
        watch = START_SECONDS if self.at_start else WATCH_SECONDS
        while (now := time.monotonic() - began) < watch:
            if closed is None and not self.at_start and not listens(launcher.port):
                closed = now
            if ended is None and launcher.process.exit_code is not None:
                ended = now
            if launcher.process.exit_code is not None and not launcher.left():
                break
            if self.at_start and "] ready" in launcher.process.log():
                break
            time.sleep(POLL_SECONDS)
        left = ", ".join(sorted(process.name() for process in launcher.left()))
        code = launcher.process.exit_code
        cells = (
            *(self.name, _seconds(closed), _seconds(ended), "goes on" if code is None else code),
            *("as it goes on" if code is None else left or "none", f"{load:.0f}"),
            _last_line(launcher.process.log()),
        )
        return f"| {' | '.join(map(str, cells))} |"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"


def _last_line(log: str) -> str:
    """The launcher's own last word; a service that is ready prints its addresses after that."""
    own = [line for line in log.splitlines() if line.startswith(("[", "FAILED:", "error:"))]
    return own[-1] if own else ""


DRILLS: Sequence[Drill] = (
    Drill("raylet killed", killed(RAYLET)),
    Drill("GCS killed", killed(GCS)),
    Drill("controller killed", killed(CONTROLLER)),
    Drill("process that runs Ray killed", kill_leader),
    Drill("launcher killed", kill_launcher),
    Drill("both killed", kill_both),
    Drill("SIGTERM to the group", stop_group),
    Drill("SIGTERM to every process", stop_everything),
    Drill("SIGTERM during the start", signalled(signal.SIGTERM), at_start=True),
    Drill("SIGINT during the start", signalled(signal.SIGINT), at_start=True),
    Drill("raylet killed during the start", killed(RAYLET), at_start=True),
    Drill(f"raylet {LATE_SECONDS:.0f} s late", late_raylet, at_start=True),
    Drill("HAProxy's port taken during the start", taken_port, at_start=True),
    Drill("model spoiled, replica killed", spoiled_model),
)


@click.command(cls=Command, example="python -m studies.launcher_drills --only raylet")
@click.option("--model-dir", type=DIRECTORY, default=Path("model"), help="Model to serve.")
@click.option("--port", type=PORT, default=8000, help="HTTP port.")
@click.option("--command", default="serve-app serve --no-dashboard", help="Starts the service.")
@click.option("--only", "names", multiple=True, help="Only faults with this in their name.")
def drills(*, model_dir: Path, port: int, command: str, names: tuple[str, ...]) -> None:
    """Break a launcher on purpose, and print how it ended.

    Every fault has a new service, one after the other; all of them take ten minutes.
    """
    chosen = choose(DRILLS, names)
    require_model(model_dir)
    click.echo(HEADER)
    for drill in chosen:
        with stopped_by_signals(), tempfile.TemporaryDirectory() as scratch:
            model = shutil.copytree(model_dir, Path(scratch, "model"))
            words = [*shlex.split(command), f"--port={port}", f"model_dir={model}"]
            with Process(words, log=Path(scratch, "log"), stop_seconds=60) as process:
                launcher = Launcher(process, port, model)
                try:
                    row = drill.run(launcher)
                finally:
                    launcher.note()
            for process_left in launcher.left():
                process_left.kill()
        click.echo(row)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return run(drills, arguments, name="python -m studies.launcher_drills")


if __name__ == "__main__":
    sys.exit(main())
