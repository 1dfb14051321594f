"""The launcher's two processes: signals, deaths and bounds; a sleep takes the place of Ray."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import wait_until

PROGRAM = """
import signal, subprocess, sys, time
from serve_app.cli.main import run as run_command
from serve_app.runtime import supervisor
from serve_app.runtime.supervisor import Phase
from serve_app.runtime.signals import StopRequest, stop_on_signals
import click

supervisor.STOP_SECONDS, supervisor.BROKEN_SECONDS = 1.0, {broken_seconds}
started = "import signal, time; print('started', flush=True); time.sleep(300)"

def run(tell):
    stop = StopRequest()
    stop_on_signals(stop)
    subprocess.Popen([sys.executable, "-c", started])
    {body}

@click.command
def serve():
    supervisor.supervise(run, request_seconds=1.0, say=lambda text: print(text, flush=True))

sys.exit(run_command(serve, []))
"""
UNTIL_STOPPED = "tell(Phase.READY); stop.wait(); print('stopping', flush=True)"
NEVER_READY = "stop.wait(); time.sleep(300)"
NEVER_STOPS = "tell(Phase.READY); time.sleep(300)"
FAILS = "time.sleep(0.5); sys.exit(3)"
STOPS_ITSELF = "tell(Phase.READY); tell(Phase.STOPPING); time.sleep(300)"


class Launcher:
    """A launcher in a process group of its own, that has started a process."""

    def __init__(self, directory: Path, body: str, broken_seconds: float) -> None:
        code = PROGRAM.format(body=body, broken_seconds=broken_seconds)
        self._log = directory / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(lambda: "started" in self.log())
        self.all = psutil.Process(self.process.pid).children(recursive=True)
        """The second process and what it has started."""
        self.leader = self.all[0]

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def is_left(self) -> bool:
        """Whether any process is left."""
        return any(each.is_running() and each.status() != "zombie" for each in self.all)

    def wait(self) -> int:
        """Wait until nothing is left; returns the exit code."""
        code = self.process.wait(20)
        wait_until(lambda: not self.is_left())
        return code


Launch = Callable[..., Launcher]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts a launcher whose second process runs a body."""
    launchers: list[Launcher] = []

    def launch(body: str, *, broken_seconds: float = 60) -> Launcher:
        launchers.append(Launcher(tmp_path, body, broken_seconds))
        return launchers[-1]

    yield launch
    for each in launchers:
        each.process.kill()
        each.process.wait()
        for process in each.all:
            if process.is_running():
                process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_stops_in_order(launch: Launch, number: signal.Signals) -> None:
    """It reaches none of the processes that the service has started; they end after it."""
    launcher = launch(UNTIL_STOPPED)
    started = launcher.all[1]
    assert os.getsid(started.pid) == launcher.leader.pid
    os.killpg(launcher.process.pid, number)
    assert launcher.wait() == 0
    assert launcher.log().splitlines() == ["started", "stopping"]


def test_the_exit_code_is_that_of_the_service(launch: Launch) -> None:
    """A start that fails ends the launcher, and what was started until then."""
    assert launch(FAILS).wait() == 3


def test_a_launcher_that_is_killed_takes_the_service_along(launch: Launch) -> None:
    """The service stops in order, as at SIGTERM."""
    launcher = launch(UNTIL_STOPPED)
    launcher.process.kill()
    wait_until(lambda: "stopping" in launcher.log())


def test_a_service_that_is_killed_is_named(launch: Launch) -> None:
    """Its processes end, and one line says why; exit code 1."""
    launcher = launch(UNTIL_STOPPED)
    launcher.leader.kill()
    assert launcher.wait() == 1
    (line,) = launcher.log().splitlines()[1:]
    assert line.startswith(f"FAILED: the process that runs Ray (pid {launcher.leader.pid}) was")
    assert "SIGKILL" in line


def test_a_stop_has_a_bound(launch: Launch) -> None:
    """What does not stop is killed after the stated time; exit code 1."""
    launcher = launch(NEVER_STOPS)
    launcher.process.terminate()
    assert launcher.wait() == 1
    assert launcher.log().endswith("FAILED: the service did not stop within 2 s; it was killed\n")


def test_a_service_that_stops_itself_has_the_same_bound(launch: Launch) -> None:
    """As after a start that fails, or a signal to the second process alone."""
    launcher = launch(STOPS_ITSELF)
    assert launcher.wait() == 1
    assert "did not stop within 2 s" in launcher.log()


def test_a_stop_does_not_wait_for_a_ray_that_has_gone(launch: Launch) -> None:
    """Raylet and GCS have ended, so that Serve cannot stop in order."""
    launcher = launch(NEVER_STOPS, broken_seconds=0.2)
    launcher.process.terminate()
    assert launcher.wait() == 1
    assert "Ray's processes ended before the service" in launcher.log()


def test_a_start_is_stopped_at_once(launch: Launch) -> None:
    """Nothing was accepted yet; what the service waits for does not matter."""
    launcher = launch(NEVER_READY)
    launcher.process.terminate()
    assert launcher.wait() == 0
    assert launcher.log().splitlines() == ["started", "stopped before it was ready"]
