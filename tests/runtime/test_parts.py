"""Which part of a service has ended: real processes that have the names of its parts."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from serve_app.ray_internals.haproxy import HAPROXY
from serve_app.ray_internals.nodes import (
    CONTROLLER,
    DASHBOARD,
    GCS,
    RAYLET,
)
from serve_app.runtime.haproxy_watchdog import WATCHDOG
from serve_app.runtime.parts import RECOVERY_SECONDS, PartLostError, PartsWatch
from tests.support.waiting import wait_until

Start = Callable[[str], psutil.Process]
StartProgram = Callable[..., psutil.Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process with a name."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> psutil.Process:
        program = tmp_path / name
        if not program.exists():
            shutil.copy(shutil.which("sleep") or "", program)
        started.append(subprocess.Popen([program, "60"]))
        process = psutil.Process(started[-1].pid)
        # The kernel has the whole name a moment after the process.
        wait_until(lambda: psutil.Process(process.pid).name() == name)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def start_program(tmp_path: Path) -> Iterator[StartProgram]:
    """Starts a program that Python runs, with options."""
    started: list[subprocess.Popen[bytes]] = []

    def start_program(name: str, *options: str) -> psutil.Process:
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("import time; time.sleep(60)", encoding="utf-8")
        started.append(subprocess.Popen([sys.executable, "-u", program, *options]))
        process = psutil.Process(started[-1].pid)
        # The kernel has the arguments a moment after the process.
        wait_until(lambda: str(program) in process.cmdline())
        return process

    yield start_program
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def said() -> list[str]:
    """Lines that the watch has said."""
    return []


@pytest.fixture
def now() -> list[float]:
    """The time, seconds."""
    return [0.0]


@pytest.fixture
def watch(said: list[str], now: list[float]) -> PartsWatch:
    """A watch that has seen nothing yet."""
    return PartsWatch(said.append, lambda: now[0])


def end(process: psutil.Process) -> None:
    process.kill()
    process.wait()


def test_a_part_that_is_back_before_the_next_look_is_named_too(
    watch: PartsWatch, start: Start, said: list[str]
) -> None:
    """Ray restarts Serve's controller in less than half a second."""
    first = start(CONTROLLER)
    watch.look([first])
    end(first)
    second = start(CONTROLLER)
    watch.look([second])
    ended, back = said
    assert f"Serve's controller has ended (pid {first.pid})" in ended
    assert f"Serve's controller is back after 0.0 s (pid {second.pid})" in back


def test_a_child_that_has_the_name_of_a_part_for_a_moment_is_none(
    watch: PartsWatch, start: Start, said: list[str]
) -> None:
    """A process that forks is twice there until the child runs its own program."""
    raylet, child = start(RAYLET), start(RAYLET)
    watch.look([child, raylet])
    end(child)
    watch.look([raylet])
    assert said == []


@pytest.mark.parametrize(("name", "title"), [(RAYLET, "the raylet"), (GCS, "Ray's GCS")])
def test_a_part_that_nobody_restarts(
    watch: PartsWatch, start: Start, said: list[str], name: str, title: str
) -> None:
    """The error names it and its process."""
    part = start(name)
    watch.look([part])
    watch.look([part])
    assert said == []
    end(part)
    with pytest.raises(PartLostError, match=rf"{title} has ended \(pid {part.pid}\)"):
        watch.look([])


def test_a_part_without_which_predictions_go_on(
    watch: PartsWatch, start_program: StartProgram, said: list[str]
) -> None:
    """It is named once, with what is missing and what brings it back; the service goes on.

    Other programs that Python runs are no parts.
    """
    part, other = start_program(DASHBOARD, "--port=1"), start_program("my/dashboard.py")
    watch.look([part, other])
    end(part)
    end(other)
    watch.look([])
    watch.look([])
    (line,) = said
    ended = f"Ray's dashboard has ended (pid {part.pid}), which is not restarted"
    assert line.startswith(f"{ended}: predictions go on")
    assert line.endswith(", until you start the service again")


def test_a_part_that_comes_back(
    watch: PartsWatch, start: Start, said: list[str], now: list[float]
) -> None:
    """One line says that it has ended, and another one that it is back."""
    before = start(HAPROXY)
    watch.look([before])
    end(before)
    watch.look([])
    now[0] += 2
    watch.look([])
    after = start(HAPROXY)
    watch.look([after])
    assert said == [
        f"HAProxy has ended (pid {before.pid}); its manager starts another one",
        f"HAProxy is back after 2.0 s (pid {after.pid})",
    ]


def test_a_part_that_is_replaced(watch: PartsWatch, start: Start, said: list[str]) -> None:
    """The new one runs before the old one ends: nothing was lost."""
    before = start(HAPROXY)
    watch.look([before])
    second = start(HAPROXY)
    watch.look([second, before])
    end(before)
    watch.look([second])
    third = start(HAPROXY)
    end(second)
    watch.look([third])
    assert said == []


def test_a_part_that_does_not_come_back(watch: PartsWatch, start: Start, now: list[float]) -> None:
    """The service is given up, with an error that says what is missing."""
    part = start(HAPROXY)
    watch.look([part])
    end(part)
    watch.look([])
    now[0] += RECOVERY_SECONDS
    watch.look([])
    now[0] += 1
    with pytest.raises(PartLostError, match="HAProxy has ended, and was not started again"):
        watch.look([])


def test_a_start_may_try_again(watch: PartsWatch, start: Start, said: list[str]) -> None:
    """Parts that are restarted count once the service is ready; the others do from the start."""
    proxy, raylet = start(HAPROXY), start(RAYLET)
    watch.look([proxy, raylet], is_ready=False)
    end(proxy)
    watch.look([raylet], is_ready=False)
    assert said == []
    end(raylet)
    with pytest.raises(PartLostError, match="the raylet has ended"):
        watch.look([], is_ready=False)


def test_a_part_that_ends_just_after_the_start_is_named(
    watch: PartsWatch, start: Start, said: list[str]
) -> None:
    """It was there before the service was ready, and need not have been seen since."""
    part = start(CONTROLLER)
    watch.look([part], is_ready=False)
    end(part)
    watch.look([])
    assert said == [f"Serve's controller has ended (pid {part.pid}); Ray starts another one"]


def test_the_watchdog_of_haproxy_is_no_haproxy(
    watch: PartsWatch, start: Start, said: list[str]
) -> None:
    """Its name begins alike; it must not hide that HAProxy has ended."""
    proxy, watchdog = start(HAPROXY), start(WATCHDOG)
    watch.look([proxy, watchdog])
    end(proxy)
    watch.look([watchdog])
    assert said == [f"HAProxy has ended (pid {proxy.pid}); its manager starts another one"]


def test_an_actor_is_known_whatever_method_it_runs(
    watch: PartsWatch, start: Start, said: list[str]
) -> None:
    """Ray names the process after both."""
    part = start(f"{CONTROLLER}.listen_for_change")
    watch.look([part])
    end(part)
    watch.look([])
    assert said == [f"Serve's controller has ended (pid {part.pid}); Ray starts another one"]


def test_other_processes_do_not_matter(watch: PartsWatch, start: Start, said: list[str]) -> None:
    """A replica that goes is the autoscaler's work, or is reported by Serve."""
    other = start("ray::ServeReplica")
    watch.look([other])
    end(other)
    watch.look([])
    assert said == []
