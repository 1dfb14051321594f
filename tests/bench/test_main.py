"""``python -m bench`` on its command line, without any of the systems."""

import json
from functools import partial
from pathlib import Path

import pytest

from bench.__main__ import bench
from bench.measures import Bench
from bench.stats import Measurement
from serve_app.cli.main import run
from serve_app.errors import UserError
from tests.support.command_lines import refused

main = partial(run, bench, name="python -m bench")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--frobnicate"], "--frobnicate"),
        (["weather"], "'weather' is not one of 'throughput', 'batch', 'latency'"),
        (["--seconds", "0"], "0 is not in the range x>=1"),
        (["--rounds", "many"], "'many' is not a valid integer"),
        (["--out", __file__], "test_main.py' is a file"),
        (["--only", "titanic"], "'titanic' is not one of 'lr', 'rf', 'mixed'"),
    ],
)
def test_a_bad_option_is_one_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends the program with code 2, before anything is started."""
    assert complaint in refused(main, arguments, capsys)


def measured(failures: float) -> Measurement:
    values = {"rate": 1.0, "p50_ms": 1.0, "p99_ms": 1.0, "failures": failures}
    return Measurement("throughput-32", "ceiling", 1, values)


@pytest.mark.parametrize(
    ("failures", "error", "code", "message"),
    [
        (0, None, 0, ""),
        (3, None, 1, "FAILED: 3 requests failed"),
        (0, UserError("wrk is gone"), 2, "error: wrk is gone"),
        (0, KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_was_measured_is_written_however_it_ends(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    failures: float,
    error: BaseException | None,
    code: int,
    message: str,
) -> None:
    """The exit code tells success, failed requests, an error and Ctrl-C apart."""

    def measure(measuring: Bench, measures: tuple[str, ...]) -> None:
        assert measures == ("throughput",)
        measuring.measurements.append(measured(failures))
        if error is not None:
            raise error

    monkeypatch.setattr(Bench, "measure", measure)
    assert main(["throughput", "--quick", "--out", str(tmp_path)]) == code
    captured = capsys.readouterr()
    assert "# Benchmark" in captured.out
    assert message in captured.err
    (path,) = tmp_path.glob("*.json")
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["settings"]["complete"] is (error is None)
    assert len(written["samples"]) == 1
