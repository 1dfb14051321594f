"""The comparison of the capacity plan with measurements, but for the measurements."""

from pathlib import Path

import pytest

from loadtest.driver.curve import write_curve
from studies.capacity import main
from tests.loadtest.capacity.test_replica_model import MODEL, curve_of
from tests.support.command_lines import refused


def test_the_model_predicts_its_own_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row for each step, and an error near 0."""
    path = tmp_path / "curve.csv"
    steps = curve_of(MODEL)
    write_curve(path, steps)
    assert main(["compare", "--learn", str(path), "--check", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n| 1 |") == len(steps)
    assert "saturation: predicted" in printed


@pytest.mark.parametrize("change", [{"p99_ms": 0.0}, {"achieved_rps": 0.0}])
def test_a_step_without_answers_is_named(
    change: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to compare a prediction with."""
    first, *others = curve_of(MODEL)
    learn, check = tmp_path / "learn.csv", tmp_path / "check.csv"
    write_curve(learn, [first, *others])
    write_curve(check, [first.model_copy(update=change), *others])
    assert main(["compare", "--learn", str(learn), "--check", str(check)]) == 2
    said = capsys.readouterr().err
    assert f"the step of {first.offered_rps:g} requests/s" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value"), [("--step-seconds", "0.4"), ("--replicas", "0"), ("--peak-rps", "-1")]
)
def test_bad_input(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line and exit code 2, before anything is trained or started."""
    line = refused(main, ["measure", "--curve", "x.csv", option, value], capsys)
    assert f"'{option}': {value} is not in the range" in line


def test_a_mistake_names_the_command_to_ask(capsys: pytest.CaptureFixture[str]) -> None:
    """A study is no command of serve-app."""
    assert "see python -m studies.capacity compare --help" in refused(main, ["compare"], capsys)
