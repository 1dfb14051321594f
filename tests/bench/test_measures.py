"""What the measurements need, and the memory of a process with its descendants."""

import shutil
from pathlib import Path

import psutil
import pytest

from bench.measures import Bench, pss_bytes
from serve_app.errors import UserError


def test_missing_wrk_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to install it, before anything is started."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(UserError, match="wrk, the load generator, is not installed"):
        Bench(seconds=1, rounds=1, scratch=Path(), progress=print).measure(["latency"])


def test_memory_is_that_of_all_processes() -> None:
    """Proportional set sizes add up; a process that has gone has none."""
    own = psutil.Process()
    assert 2**20 < pss_bytes([own]) <= own.memory_info().rss
