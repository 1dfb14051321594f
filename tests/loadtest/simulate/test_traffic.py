"""Traces are what they say, and files that are no traces are refused."""

from pathlib import Path

import numpy as np
import pytest

from loadtest.simulate.traffic import DAY, SHAPES, Traffic, TrafficError, read_trace


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_reach_their_peak(shape: str) -> None:
    """Each built-in trace peaks at the rate asked for, and repeats exactly."""
    traffic = SHAPES[shape](1000.0)
    assert traffic.rps.max() == pytest.approx(1000)
    assert traffic.rps.tolist() == SHAPES[shape](1000.0).rps.tolist()


def test_a_day_is_a_day() -> None:
    """The diurnal trace lasts 24 h and its night is far below its peak."""
    traffic = SHAPES["diurnal"](1000.0)
    assert traffic.seconds[-1] == DAY
    assert traffic.rps.min() < 200


def test_sampling_keeps_the_requests() -> None:
    """A ramp sampled in steps holds as many requests as the area under it."""
    traffic = Traffic(np.array([10.0, 20, 40]), np.array([0.0, 100, 100]))
    sampled = traffic.sampled(0.5)
    assert len(sampled) == 60
    assert sampled.sum() * 0.5 == pytest.approx(10 * 100 / 2 + 20 * 100)


def test_reads_a_file(tmp_path: Path) -> None:
    """Header, two columns, and a byte order mark as spreadsheets write it."""
    path = tmp_path / "trace.csv"
    path.write_text("seconds,requests_per_second\n0,5\n60,7.5\n", encoding="utf-8-sig")
    traffic = read_trace(path)
    assert traffic.seconds.tolist() == [0, 60]
    assert traffic.rps.tolist() == [5, 7.5]


def test_empty_lines_are_no_rows(tmp_path: Path) -> None:
    """Editors and spreadsheets leave them at the end."""
    path = tmp_path / "trace.csv"
    path.write_text("seconds,requests_per_second\n0,5\n\n60,7\n ,\n\n", encoding="utf-8")
    assert read_trace(path).rps.tolist() == [5, 7]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "must begin with the line seconds,requests_per_second"),
        ("time,rate\n0,1\n", "must begin with the line"),
        ("seconds,requests_per_second\n", "needs two moments"),
        ("seconds,requests_per_second\n0,1\n", "needs two moments"),
        ("seconds,requests_per_second\n0,1\n1\n", "line 3: '1' is not two numbers"),
        ("seconds,requests_per_second\n0,1\n1,many\n", "line 3: '1,many' is not two numbers"),
        ("seconds,requests_per_second\n0,1\n0,2\n", "seconds that increase"),
        ("seconds,requests_per_second\n0,1\n1,-2\n", "must not have negative"),
        ("seconds,requests_per_second\n0,1\n1,nan\n", "finite"),
        ("seconds,requests_per_second\n0,0\n1,0\n", "must hold traffic"),
    ],
)
def test_bad_file(tmp_path: Path, rows: str, message: str) -> None:
    """Empty and malformed traces are refused with the file, the line and the problem."""
    path = tmp_path / "trace.csv"
    path.write_text(rows, encoding="utf-8")
    with pytest.raises(TrafficError, match=message):
        read_trace(path)
