"""A scale run that is cut short."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.support.service import CONFIG, PROJECT


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """On SIGTERM, Locust and every process of the cluster are stopped, too."""
    with (tmp_path / "errors").open("wb") as errors:
        run = subprocess.Popen(
            [
                *(sys.executable, "-u", "-m", "loadtest.scale"),
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
    finally:
        run.terminate()  # killed at once, it would leave its cluster behind
        try:
            run.wait(60)
        except subprocess.TimeoutExpired:
            run.kill()
        run.stdout.close()
