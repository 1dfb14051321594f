"""Locust as a process: its command line, its reasons, and its end."""

from pathlib import Path

import psutil
import pytest

from loadtest.driver.locust_run import LOCUSTFILE, Load, LocustRun, locust_command
from loadtest.driver.results import read_latest
from serve_app.errors import UserError
from serve_app.model.artifact import Artifact
from tests.support.canned_service import CannedService


def test_the_load_test_is_in_the_package() -> None:
    """Installed from a wheel, too, Locust gets the file beside this package's modules."""
    assert LOCUSTFILE.is_file()
    assert str(LOCUSTFILE) in locust_command("spike")


def test_options_become_arguments() -> None:
    """What is not given is left to Locust and to the scenario."""
    command = locust_command(
        "spike", seconds=60.0, users=None, user_rate=2.5, headless=True, only_summary=False
    )
    assert command[5:] == [
        *("--scenario", "spike", "--user-rate", "2.5", "--headless", "--run-time", "60s")
    ]


@pytest.mark.parametrize(
    ("scenario", "given", "users", "rate"),
    [
        ("scale", {}, 100, 1.23),
        ("scale", {"users": 10}, 10, 12.3),
        ("scale", {"user_rate": 0.12345}, 100, 0.12345),
        ("baseline", {"user_rate": 5.0}, 100, None),
    ],
)
def test_the_peak_decides_the_rate(
    scenario: str, given: dict[str, float], users: int, rate: float | None
) -> None:
    """Unless a rate is given; users who wait for their answers have none."""
    load = Load.of(scenario, **given)  # type: ignore[arg-type]
    load = load.at("x", Path(), peak_rps=123.4)
    assert (load.users, load.user_rate) == (users, rate)


def test_without_a_peak_each_user_sends_once_a_second() -> None:
    """Against a service that runs already nobody knows how much it needs."""
    assert Load.of("scale", users=30).at("x", Path()).peak_rps == 30


def test_what_locust_refuses_is_refused(tmp_path: Path) -> None:
    """Its reason is the error."""
    load = Load("open-loop", 1, 2.0, 1.0, "http://127.0.0.1:9")
    with LocustRun(load, tmp_path) as locust:
        locust.wait_until(lambda: locust.exit_code is not None, 60)
        with pytest.raises(UserError, match=r"^http://127.0.0.1:9/model cannot be reached"):
            locust.check_accepted()


def test_an_earlier_run_is_forgotten_and_locust_is_stopped(iris: Path, tmp_path: Path) -> None:
    """The history of another run is not this one's; on exit no process is left."""
    (tmp_path / "locust_stats.csv").write_text("Name\nAggregated\n")
    (tmp_path / "locust_stats_history.csv").write_text("nonsense\n")
    with CannedService(Artifact.open(iris).card) as service:
        load = Load("open-loop", 1, 60.0, 5.0, service.url)
        with LocustRun(load, tmp_path) as locust:
            locust.wait_until(lambda: read_latest(locust.prefix) is not None, 60)
            processes = locust.tree()
        assert processes
        assert not any(map(psutil.Process.is_running, processes))
