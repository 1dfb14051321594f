"""``serve-app load``: Locust in the foreground, with this project's load test."""

import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.driver.results import read_summary
from loadtest.driver.scenarios import SCENARIOS
from serve_app.cli.main import main
from serve_app.model.artifact import Artifact
from tests.support.canned_service import CannedService
from tests.support.command_lines import refused
from tests.support.service import PROJECT


def serve_app_load(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "serve_app", "load", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=PROJECT,
    )


def test_what_follows_two_dashes_goes_to_locust(iris: Path, tmp_path: Path) -> None:
    """The load passes with exit code 0, and Locust has written the files that it was asked for."""
    with CannedService(Artifact.open(iris).card) as service:
        done = serve_app_load(
            *("open-loop", "--host", service.url, "--users", "2", "--user-rate", "5"),
            *("--seconds", "3", "--model-dir", "", "--", "--csv", str(tmp_path / "run")),
        )
    assert done.returncode == 0, done.stderr
    assert read_summary(tmp_path / "run").requests > 10


def test_a_broken_threshold_is_exit_code_1(iris: Path, tmp_path: Path) -> None:
    """The sentence says which one, and by how much."""
    with CannedService(Artifact.open(iris).card) as service:
        done = serve_app_load(
            *("--host", service.url, "--users", "2", "--seconds", "3", "--min-rps", "1000"),
            *("--model-dir", ""),
        )
    assert done.returncode == 1
    assert "at least 1000.0 must be" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "http://127.0.0.1:9"), "http://127.0.0.1:9/model cannot be reached"),
        (("--", "--nonsense"), "unrecognized arguments: --nonsense"),
    ],
)
def test_a_load_that_cannot_start_is_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    """Locust's reason is shown in one line."""
    done = serve_app_load(*arguments)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if words in line]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chaos"], "'chaos' is not one of"),
        (["--users", "0"], "0 is not in the range x>=1"),
        (["--user-rate", "0"], "0 is not in the range x>0"),
        (["--user-rate", "nan"], "nan"),
        (["--traceparent-share", "1.5"], "1.5 is not in the range 0<=x<=1"),
        (["--curve-replicas", "0"], "0 is not in the range x>=1"),
        (["--seconds", "0.4"], "0.4 is not in the range x>=1"),
    ],
)
def test_bad_input_is_refused_before_locust_starts(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ranges are those of Locust's own options."""
    assert words in refused(main, ["load", *arguments], capsys)


def test_the_help_describes_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    """A choice needs no look into the source."""
    assert main(["load", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, scenario in SCENARIOS.items():
        assert f"{name} {scenario.description}" in shown
