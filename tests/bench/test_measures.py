"""What the measurements need."""

import shutil
from pathlib import Path

import pytest

from bench import peers
from bench.measures import Bench
from serve_app.errors import UserError


@pytest.mark.parametrize(("measure", "missing"), [("latency", "wrk"), ("protocols", "h2load")])
def test_a_missing_generator_is_an_error(
    measure: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says how to install it, before anything is started; h2load for what needs it only."""
    monkeypatch.setattr(shutil, "which", lambda name: None if name == missing else name)
    with pytest.raises(UserError, match=f"{missing}, the load generator, is not installed"):
        Bench(seconds=1, rounds=1, scratch=Path(), progress=print).measure([measure])


def test_protocols_need_rows_of_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them nothing is started, and it is said."""
    monkeypatch.setattr(shutil, "which", lambda name: name)
    said = list[str]()
    measuring = Bench(seconds=1, rounds=1, scratch=tmp_path, progress=said.append, only=["mixed"])
    measuring.measure(["protocols"])
    assert "rows of numbers, which mixed lacks" in said[-1]
    assert not measuring.measurements


def test_missing_peer_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says how to install it, before models are made or anything is started."""
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)
    measuring = Bench(seconds=1, rounds=1, scratch=Path(), progress=print, with_peers=True)
    with pytest.raises(UserError, match="mlserver is missing; `nox -s bench -- --peers`"):
        measuring.measure(["throughput"])


def test_a_model_that_no_measure_is_for_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which measure is, instead of measuring nothing in silence."""
    monkeypatch.setattr(shutil, "which", lambda name: name)
    measuring = Bench(seconds=1, rounds=1, scratch=Path(), progress=print, only=["lgbm"])
    with pytest.raises(UserError, match=r"of lgbm only .* timed; add .* calls"):
        measuring.measure(["throughput", "batch"])
