"""The saturation curve survives its file, and bad files say what is wrong with them."""

from pathlib import Path

import pytest

from loadtest.driver.curve import Step, read_curve, write_curve
from serve_app.errors import UserError


def step(offered: float, **changed: float) -> Step:
    """A step that answers everything, unless changed."""
    values = {
        "replicas": 1,
        "seconds": 15,
        "offered_rps": offered,
        "achieved_rps": offered,
        "p50_ms": 5,
        "p95_ms": 8,
        "p99_ms": 9.5,
        "failures": 0,
    }
    return Step.model_validate(values | changed)


def test_round_trip(tmp_path: Path) -> None:
    """What is written is read, sorted by offered rate."""
    write_curve(tmp_path / "curve.csv", [step(20.0), step(10.0, failures=3)])
    assert read_curve(tmp_path / "curve.csv") == (step(10.0, failures=3), step(20.0))


def test_other_columns_are_ignored(tmp_path: Path) -> None:
    """A spreadsheet may keep notes beside the numbers."""
    path = tmp_path / "curve.csv"
    write_curve(path, [step(10.0)])
    header, row = path.read_text(encoding="utf-8").split()
    path.write_text(f"{header},note\n{row},quiet machine\n", encoding="utf-8")
    assert read_curve(path) == (step(10.0),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no step"),
        ("replicas,seconds\n1,15\n", "line 2, column offered_rps: Field required"),
        (
            (
                "replicas,seconds,offered_rps,achieved_rps,p50_ms,p95_ms,p99_ms,failures\n"
                "1,15,10,-1,5,8,9,0\n"
            ),
            "line 2, column achieved_rps='-1': Input should be greater than or equal to 0",
        ),
        (
            (
                "replicas,seconds,offered_rps,achieved_rps,p50_ms,p95_ms,p99_ms,failures\n"
                "1,15,nan,1,5,8,9,0\n"
            ),
            "line 2, column offered_rps",
        ),
    ],
)
def test_bad_file(tmp_path: Path, content: str, message: str) -> None:
    """The message names the line, the column and the problem."""
    path = tmp_path / "curve.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_curve(path)


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(UserError, match=r"nowhere\.csv cannot be read"):
        read_curve(tmp_path / "nowhere.csv")
