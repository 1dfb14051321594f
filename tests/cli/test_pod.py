"""What the manifests run in a pod; its parts are tested in tests/runtime."""

from pathlib import Path

import psutil
import pytest

from serve_app.cli.main import main


def test_drain_goes_on_after_a_failed_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any Ray here each step is reported in the log, and the exit code is 0."""
    monkeypatch.setattr(psutil, "process_iter", list)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    log = tmp_path / "log"
    assert main(["pod", "drain", "--notice-seconds=0", f"--log={log}"]) == 0
    *_, stopping, failed = log.read_text().splitlines()
    assert stopping == "drain: stopping Ray"
    assert failed.startswith("drain: ray stop failed: [Errno 2]")
