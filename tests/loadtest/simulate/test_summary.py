"""The command line simulates, draws and saves, and refuses bad input in one line."""

import csv
from pathlib import Path

import numpy as np
import pytest

from loadtest.driver.curve import write_curve
from loadtest.simulate.summary import worst_moments
from serve_app.cli.main import main
from tests.loadtest.capacity.test_replica_model import MODEL, curve_of
from tests.support.command_lines import refused

SPIKE = ("simulate", "--trace", "spike", "--peak-rps", "100000", "--replica-rps", "2000")
PNG = b"\x89PNG\r\n\x1a\n"


def test_simulates_draws_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A spike that needs 84 replicas: text, picture and every step as CSV."""
    image, steps = tmp_path / "spike.png", tmp_path / "spike.csv"
    more = ("--max-replicas", "200", "--image", str(image), "--csv", str(steps))
    assert main([*SPIKE, *more]) == 0
    printed = capsys.readouterr().out
    assert "replicas          9 to 84" in printed
    assert "1.0 h, peak 100,000/s, 90,000,000 requests" in printed
    assert image.read_bytes().startswith(PNG)
    with steps.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3600
    assert max(float(row["target"]) for row in rows) == 84


def test_the_config_sets_the_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an option, serve_config.yaml's five replicas are the most there are."""
    assert main([*SPIKE]) == 0
    assert "replicas          5 to 5" in capsys.readouterr().out


def test_capacity_from_a_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A replica's capacity may come from the file of a load test."""
    path = tmp_path / "curve.csv"
    write_curve(path, curve_of(MODEL))
    assert main(["simulate", "--trace", "ramp", "--peak-rps", "240", "--curve", str(path)]) == 0
    assert "replicas          1 to 4" in capsys.readouterr().out


def test_a_file_is_stretched_to_the_peak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--peak-rps scales a recorded trace; without it, the trace is taken as it is."""
    path = tmp_path / "trace.csv"
    path.write_text("seconds,requests_per_second\n0,10\n600,10\n", encoding="utf-8")
    assert main(["simulate", "--trace", str(path), "--replica-rps", "100"]) == 0
    assert "peak 10/s, 6,000 requests" in capsys.readouterr().out
    assert (
        main(["simulate", "--trace", str(path), "--replica-rps", "100", "--peak-rps", "200"]) == 0
    )
    assert "peak 200/s, 120,000 requests" in capsys.readouterr().out


def test_a_trace_that_never_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused instead of taking all memory."""
    path = tmp_path / "trace.csv"
    path.write_text("seconds,requests_per_second\n0,10\n1e15,10\n", encoding="utf-8")
    assert main(["simulate", "--trace", str(path), "--replica-rps", "100"]) == 2
    assert "takes more than 5,000,000 steps of 1 s; shorten it" in capsys.readouterr().err


def test_the_picture_keeps_a_short_shortage() -> None:
    """One bad moment in 10,000 is among the 100 that are drawn."""
    shortage = np.full(10_000, -1.0)
    shortage[4321] = 7.0
    shown = worst_moments(shortage, most=100)
    assert len(shown) == 100
    assert 4321 in shown
    assert list(worst_moments(np.zeros(3), most=100)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trace", "tsunami"), "neither a file nor one of diurnal, spike"),
        (("--peak-rps", "-1"), "'--peak-rps': -1.0 is not in the range x>0"),
        (("--curve", "x.csv"), "give either --replica-rps or --curve"),
        (("--queue-seen", "1.5"), "'--queue-seen': 1.5 is not in the range 0<=x<=1"),
        (("--cpu-target", "0"), "'--cpu-target': 0.0 is not in the range x>0"),
        (("--step-seconds", "inf"), "'--step-seconds': inf is not a finite number"),
        (("--min-replicas", "9"), "max_replicas (5) must be greater"),
        (("--min-replicas", "0"), "min_replicas is 0"),
        (("--image", "/nowhere/x.png"), "there is no directory /nowhere"),
        (("--csv", "/nowhere/x.csv"), "there is no directory /nowhere"),
        (("--config", "nowhere.yaml"), "nowhere.yaml is not a Serve config"),
    ],
)
def test_bad_input(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, str], message: str
) -> None:
    """One clear line on standard error, exit code 2."""
    assert message in refused(main, [*SPIKE, *arguments], capsys)


def test_a_shape_needs_its_peak(capsys: pytest.CaptureFixture[str]) -> None:
    """A shape has no rate, unlike a file."""
    arguments = ["simulate", "--trace", "spike", "--replica-rps", "1"]
    assert "--trace spike needs --peak-rps" in refused(main, arguments, capsys)
