"""A Ray node leaves: in which order, and that nothing holds it up. All processes are children."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from serve_app.runtime.drain import drain, say_to
from serve_app.runtime.processes import named
from serve_app.runtime.waits import Waits

QUICK = Waits(notice=0.0, proxy=5.0, node=5)
Start = Callable[[str, str], subprocess.Popen[bytes]]


def children() -> list[psutil.Process]:
    """Never more than these: other services on this machine have an HAProxy, too."""
    return psutil.Process().children(recursive=True)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program with a name that runs some Python, and wait until it is ready."""
    started = []

    def start(name: str, code: str) -> subprocess.Popen[bytes]:
        program = tmp_path / name
        program.write_text(f"#!{sys.executable} -IS\nimport signal, sys, time\n{code}")
        program.chmod(0o755)
        process = subprocess.Popen([program], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording `ray` that fails if told to; returns the record."""
    record = tmp_path / "record"
    ray = tmp_path / "ray"
    ray.write_text(
        f'#!/bin/sh\necho "$@" >> {record}\n'
        f'[ -e {tmp_path}/fails ] && echo "ConnectionError: no head" >&2 && exit 1\nexit 0\n'
    )
    ray.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    return record


EXITS_AFTER_A_REQUEST = (
    "signal.signal(signal.SIGUSR1, lambda *_: (time.sleep(0.1), print('answered'), sys.exit()))\n"
    "print('ready', flush=True)\ntime.sleep(60)\n"
)
NEVER_EXITS = (
    "signal.signal(signal.SIGUSR1, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(60)\n"
)
WAITS = "print('ready', flush=True)\ntime.sleep(60)\n"


def test_the_proxy_leaves_before_the_node(start: Start, tools: Path) -> None:
    """Serve moves replicas once no proxy here sends to them; Ray stops last."""
    start("haproxy", EXITS_AFTER_A_REQUEST)
    raylet = start("raylet", "print('ready', flush=True)\ntime.sleep(0.5)\n")
    said: list[tuple[str, bool, bool]] = []

    def say(text: str) -> None:
        said.append((text, bool(named(children(), "haproxy")), raylet.poll() is None))

    drain(children, QUICK, say)

    assert said == [
        ("answering for 0 s more, until load balancers have noticed", True, True),
        ("stopping the proxy when it has answered what it accepted", True, True),
        ("draining the node: Serve moves its replicas", False, True),
        ("stopping Ray", False, False),
    ]
    assert tools.read_text().splitlines() == [
        (
            "drain-node --address=head:6379 --reason=DRAIN_NODE_REASON_PREEMPTION "
            "--reason-message=the pod terminates --deadline-remaining-seconds=5"
        ),
        "stop --grace-period=10",
    ]


def test_a_failed_step_is_said_and_passed_over(start: Start, tools: Path, tmp_path: Path) -> None:
    """With the head gone, and a proxy that hangs, Ray is stopped all the same."""
    start("haproxy", NEVER_EXITS)
    (tmp_path / "fails").touch()
    said: list[str] = []

    drain(children, Waits(notice=0.0, proxy=0.1, node=0), said.append)

    assert said[2] == "the proxy still has requests after 0.1 s; going on"
    failure = "failed (exit code 1): ConnectionError: no head; going on"
    assert [line for line in said if "exit code" in line] == [
        f"ray drain-node {failure}",
        f"ray stop {failure}",
    ]


def test_no_ray_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of KubeRay's pods, each command that cannot run is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said: list[str] = []

    drain(list, QUICK, said.append)

    assert "ray drain-node was not run: RAY_ADDRESS is not set; KubeRay sets it in its pods" in said
    assert said[-1].startswith("ray stop failed: [Errno 2] No such file or directory")


@pytest.mark.parametrize("log", ["log", "no/such/directory/log"])
def test_steps_go_to_a_log_or_to_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], log: str
) -> None:
    """A log that cannot be written must not stop the drain."""
    say_to(tmp_path / log)("stopping Ray")
    file = tmp_path / log
    written = file.read_text() if file.exists() else capsys.readouterr().out
    assert written == "drain: stopping Ray\n"
