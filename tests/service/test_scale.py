"""A scale run that is cut short."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.support.service import CONFIG, PROJECT


def _current_cluster() -> str | None:
    """Address of what ``serve run`` connects to, if Ray has noted any."""
    note = Path("/tmp/ray/ray_current_cluster")  # noqa: S108 - Ray's own
    return note.read_text(encoding="utf-8") if note.exists() else None


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """On SIGTERM, Locust and every process of the cluster are stopped, and none refers to it."""
    current_before = _current_cluster()
    with (tmp_path / "errors").open("wb") as errors:
        run = subprocess.Popen(
            [
                *(sys.executable, "-u", "-m", "loadtest.scale.command"),
                *("--config", str(CONFIG), "--out", str(tmp_path / "report")),
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=PROJECT,
        )
    assert run.stdout is not None
    try:
        shown = ""
        for line in run.stdout:
            shown += line
            if "waiting for the load" in line:
                break
        processes = psutil.Process(run.pid).children(recursive=True)
        names = " ".join(" ".join(process.cmdline()) for process in processes)
        assert all(part in names for part in ("locust", "raylet", "gcs_server", "haproxy")), shown
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 130
        _, alive = psutil.wait_procs(processes, timeout=5)
        assert not alive
        assert _current_cluster() == current_before
    finally:
        run.terminate()  # killed at once, it would leave its cluster behind
        try:
            run.wait(60)
        except subprocess.TimeoutExpired:
            run.kill()
        run.stdout.close()
