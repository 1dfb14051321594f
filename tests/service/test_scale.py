"""A scale run that is cut short."""

import os
import signal
from pathlib import Path

import psutil

from serve_app.runtime.processes import Command
from tests.support.service import CONFIG, PORT, PORTS, PROGRAM
from tests.support.waiting import wait_until


def _current_cluster() -> str | None:
    """Address of what ``serve run`` connects to, if Ray has noted any."""
    note = Path("/tmp/ray/ray_current_cluster")  # noqa: S108 - Ray's own
    return note.read_text(encoding="utf-8") if note.exists() else None


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """On SIGTERM, Locust and every process of the cluster are stopped, and none refers to it."""
    current_before = _current_cluster()
    options = ["--port", str(PORT), "--config", str(CONFIG), "--out", str(tmp_path / "report")]
    # Killed at once, it would leave its cluster behind.
    run = Command(
        [*PROGRAM, "scale", *options],
        log=tmp_path / "log",
        environment={**PORTS, "PYTHONUNBUFFERED": "1"},
        stop_seconds=60,
    )
    with run:
        run.wait_until(lambda: "waiting for the end of the load" in run.log(), seconds=240)
        started = run.tree()[1:]
        names = " ".join(" ".join(process.cmdline()) for process in started)
        assert all(part in names for part in ("locust", "raylet", "gcs_server", "haproxy"))
        os.kill(run.pid, signal.SIGTERM)
        wait_until(lambda: run.exit_code is not None, seconds=60)
        assert run.exit_code == 130, run.log()
        _, alive = psutil.wait_procs(started, timeout=5)
        assert not alive
        assert _current_cluster() == current_before
