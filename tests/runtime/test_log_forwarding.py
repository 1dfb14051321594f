"""What replicas log reaches the log of the pod: every event, once, and nothing else."""

import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.runtime.log_forwarding import Follower, is_event
from serve_app.telemetry.logs import JsonFormatter

EVENT = b'{"severity": "INFO", "message": "a"}\n'


def lines(follower: Follower) -> list[bytes]:
    return list(follower.new_lines())


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_each_line_is_read_once_when_it_is_complete(tmp_path: Path) -> None:
    """However it was cut into pieces when it was written."""
    follower, file = Follower(tmp_path), tmp_path / "worker-1.err"
    append(file, b"first\nsec")
    assert lines(follower) == [b"first\n"]
    append(file, b"ond")
    assert lines(follower) == []
    append(file, b"\nthird\n")
    assert lines(follower) == [b"second\n", b"third\n"]
    assert lines(follower) == []


def test_workers_come_and_go(tmp_path: Path) -> None:
    """Files may appear later, the directory itself too; other files are not read."""
    logs = tmp_path / "logs"
    follower = Follower(logs)
    assert lines(follower) == []
    logs.mkdir()
    append(logs / "worker-1.err", b"a\n")
    append(logs / "worker-1.out", b"no\n")
    append(logs / "raylet.err", b"no\n")
    assert lines(follower) == [b"a\n"]
    (logs / "worker-1.err").unlink()
    append(logs / "worker-2.err", b"b\n")
    assert lines(follower) == [b"b\n"]


def test_a_rotated_file_is_read_from_its_start(tmp_path: Path) -> None:
    """Ray may rotate it."""
    follower, file = Follower(tmp_path), tmp_path / "worker-1.err"
    file.write_bytes(b"a long line\n")
    assert lines(follower) == [b"a long line\n"]
    file.write_bytes(b"new\n")
    assert lines(follower) == [b"new\n"]


def test_events_of_the_application_are_recognised() -> None:
    """Every line of the formatter is one."""
    record = logging.LogRecord("serve_app", logging.ERROR, "f.py", 1, "spans failed", (), None)
    assert is_event(JsonFormatter("my-project").format(record).encode() + b"\n")


@pytest.mark.parametrize(
    "line", [b"Traceback (most recent call last):\n", b"{\n", b"{}\n", b'["severity"]\n', b"\xff\n"]
)
def test_anything_else_is_no_event(line: bytes) -> None:
    """Tracebacks, Ray's own messages and broken JSON stay in Ray's files."""
    assert not is_event(line)


def test_the_last_events_before_the_end_are_copied(tmp_path: Path) -> None:
    """SIGTERM ends it, with 0, after one more look; only events are in its output."""
    append(tmp_path / "worker-1.err", b"noise\n" + EVENT)
    command = [sys.executable, "-m", "serve_app", "pod", "logs", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == EVENT
        append(tmp_path / "worker-2.err", EVENT)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == EVENT
    assert process.returncode == 0
