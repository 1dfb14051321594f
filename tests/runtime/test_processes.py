"""Commands are started, watched and stopped with everything that they have started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from serve_app.runtime.processes import Command, ProcessError, named, terminate_all, tree_of
from tests.support.waiting import wait_until

LONG = 60.0
"""No test waits for so long."""
SLEEPS = f"print('ready', flush=True); time.sleep({LONG})"
IGNORES_SIGTERM = f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"
ENDS_IN_ORDER = (
    f"signal.signal(signal.SIGTERM, lambda *_: (print('ending'), sys.exit(3))); {SLEEPS}"
)

Start = Callable[[str], psutil.Process]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, signal, subprocess, sys, time; {code}"]


def parent_of(code: str, then: str) -> list[str]:
    """A program that starts another one, waits until it is ready, and goes on."""
    child = f"subprocess.Popen({python(code)!r}, stdout=subprocess.PIPE)"
    return python(f"child = {child}; child.stdout.readline(); {then}")


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a Python program as a child of the tests and waits until it is ready."""
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str) -> psutil.Process:
        process = subprocess.Popen(python(code), stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return psutil.Process(process.pid)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or waits only for its parent to ask for the exit code."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def ready(command: Command) -> Callable[[], bool]:
    return lambda: "ready" in command.log()


def test_a_command_runs_in_its_directory_with_its_variables(tmp_path: Path) -> None:
    """Standard output and standard error are in its log, the exit code is kept."""
    code = "print(os.getcwd()); print(os.environ['OWN'], 'PATH' in os.environ, file=sys.stderr)"
    command = Command(
        python(code),
        log=tmp_path / "log",
        environment={"OWN": "value"},
        directory=tmp_path,
    )
    assert (command.exit_code, command.stop()) == (None, None)
    with command:
        command.wait_until(lambda: command.exit_code is not None, LONG)
    assert sorted(command.log().splitlines()) == sorted([str(tmp_path), "value True"])
    assert command.exit_code == 0


def test_waiting_ends_when_it_is_ready(tmp_path: Path) -> None:
    """The seconds count from the start of the command."""
    with Command(python(SLEEPS), log=tmp_path / "log") as command:
        before = time.monotonic()
        seconds = command.wait_until(ready(command), LONG)
        assert time.monotonic() - before <= seconds < LONG
        assert [process.pid for process in command.tree()] == [command.pid]


@pytest.mark.parametrize(
    ("code", "seconds", "message"),
    [
        ("raise SystemExit('no such model')", LONG, r"ended after .* log, .*log:\nno such model"),
        (SLEEPS, 0.3, "is not ready after 0 s"),
    ],
)
def test_a_command_that_does_not_get_ready_is_an_error(
    tmp_path: Path, code: str, seconds: float, message: str
) -> None:
    """Whether it has ended or takes too long; the error shows the end of the log."""
    command = Command(python(code), log=tmp_path / "log")
    with pytest.raises(ProcessError, match=message), command:
        command.wait_until(lambda: False, seconds)
    assert command.exit_code is not None


def test_a_command_is_asked_to_end(tmp_path: Path) -> None:
    """It gets SIGTERM, and as long as it needs; its own exit code is reported, time and again."""
    with Command(python(ENDS_IN_ORDER), log=tmp_path / "log") as command:
        command.wait_until(ready(command), LONG)
        assert command.stop() == 3
    assert "ending" in command.log()
    assert (command.exit_code, command.stop(), command.tree()) == (3, 3, [])


def test_a_command_that_does_not_end_is_killed(tmp_path: Path) -> None:
    """After the seconds that it is given."""
    with Command(python(IGNORES_SIGTERM), log=tmp_path / "log", stop_seconds=0.1) as command:
        command.wait_until(ready(command), LONG)
        assert command.stop() == -signal.SIGKILL


@pytest.mark.parametrize("then", [SLEEPS, ENDS_IN_ORDER])
def test_no_descendant_is_left(tmp_path: Path, then: str) -> None:
    """Not even where the command itself ends and stops none of them."""
    with Command(parent_of(IGNORES_SIGTERM, then), log=tmp_path / "log") as command:
        command.wait_until(ready(command), LONG)
        _, child = tree = command.tree()
    assert child.pid != command.pid
    wait_until(lambda: all(map(has_ended, tree)))


def test_descendants_are_asked_to_end_if_the_command_does_not(tmp_path: Path) -> None:
    """With stop_tree each of them gets SIGTERM, and time to end in order."""
    mark = tmp_path / "mark"
    child = (
        f"signal.signal(signal.SIGTERM, lambda *_: (open({str(mark)!r}, 'w'), sys.exit())); "
        f"{SLEEPS}"
    )
    command = Command(parent_of(child, SLEEPS), log=tmp_path / "log", stop_tree=True)
    with command:
        command.wait_until(ready(command), LONG)
    assert mark.exists()
    assert command.exit_code == -signal.SIGTERM


def test_only_processes_that_do_not_end_are_killed(start: Start) -> None:
    """Every process is asked first; one that has ended before is no error."""
    polite, deaf, gone = start(ENDS_IN_ORDER), start(IGNORES_SIGTERM), start(SLEEPS)
    gone.kill()
    gone.wait()
    terminate_all([gone, polite, deaf], seconds=0.5)
    assert (polite.wait(), deaf.wait()) == (3, -signal.SIGKILL)


def test_only_running_processes_with_the_name_are_found(start: Start) -> None:
    """One that has ended but was not waited for is not there any more."""
    process = start(SLEEPS)
    name = process.name()
    assert named([process], name) == [process]
    assert named([process], "raylet") == []
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: has_ended(process))
    assert named([process], name) == []


def test_a_tree_is_a_process_and_its_descendants(start: Start) -> None:
    """A process that has gone has none."""
    child = start(SLEEPS)
    assert child in tree_of(os.getpid())
    child.kill()
    child.wait()
    assert tree_of(child.pid) == []
