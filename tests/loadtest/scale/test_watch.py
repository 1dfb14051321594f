"""A scale run against a service and a dashboard that run already: all of it but Ray."""

import csv
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from loadtest.driver.results import read_summary
from loadtest.scale import sizing
from serve_app.cli.main import main
from serve_app.model.artifact import Artifact
from serve_app.ray_internals.dashboard import APPLICATIONS_PATH as SERVE
from tests.loadtest.scale.test_dashboard import ANSWERS, applications, replica
from tests.support.canned_server import CannedServer
from tests.support.canned_service import CannedService
from tests.support.command_lines import refused
from tests.support.service import CONFIG, PROJECT
from tests.support.waiting import wait_until

QUICK = ("--scenario", "open-loop", "--users", "2", "--user-rate", "5", "--seconds", "4")


class Scaling(Mapping[str, tuple[int, Any]]):
    """A dashboard's answers; its number of replicas depends on the seconds since the first."""

    def __init__(self, count: Callable[[float], int]) -> None:
        self._count = count
        self._started: float | None = None

    def __getitem__(self, path: str) -> tuple[int, Any]:
        if path != SERVE:
            return ANSWERS[path]
        self._started = self._started or time.monotonic()
        count = self._count(time.monotonic() - self._started)
        replicas = [replica("RUNNING", "a", number) for number in range(1, count + 1)]
        return 200, applications(target_num_replicas=count, replicas=replicas)

    def __iter__(self) -> Iterator[str]:
        return iter(ANSWERS)

    def __len__(self) -> int:
        return len(ANSWERS)


def run(iris: Path, out: Path, count: Callable[[float], int], *more: str) -> int:
    with (
        CannedService(Artifact.open(iris).card) as service,
        CannedServer(Scaling(count)) as dashboard,
    ):
        return main(
            [
                *("scale", "--serve-url", service.url, "--dashboard-url", dashboard.url),
                *("--out", str(out), *QUICK, *more),
            ]
        )


def test_a_run_that_scales_out_and_in(
    iris: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 to 2 to 1 replicas, no request failed: exit code 0, samples, picture and page."""
    out_and_in = lambda seconds: 2 if 2 < seconds < 6 else 1  # noqa: E731
    assert run(iris, tmp_path, out_and_in, "--settle", "20") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "replicas: start, most, end                      1, 2, 1" in printed.out
    with (tmp_path / "samples.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["replicas_running"] for row in rows} == {"1", "2"}
    assert max(int(row["requests"]) for row in rows) > 20
    # Locust takes seconds until it has users; its own time counts from there.
    began = next(float(row["seconds"]) for row in rows if int(row["users"]))
    phases = [line for line in printed.out.splitlines() if line.startswith("waiting for")]
    assert phases[0] == "waiting for Locust to start the load"
    assert phases[1] == f"waiting for the end of the load, at second {began + 4:.0f}"
    assert "Passed" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "scale.png").stat().st_size > 0


def test_a_run_that_proves_nothing(
    iris: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No scale-out, and too few requests: exit code 1, with each reason and what to raise."""
    assert run(iris, tmp_path, lambda _seconds: 1, "--min-rps", "1000", "--cpu-target", "0.95") == 1
    problems = capsys.readouterr().err
    assert "replicas did not scale out: 1 at the start, never more" in problems
    assert "at least 1000.0 must be" in problems
    assert (
        "the load was too small: CPU utilisation was 90% at most, under its target of 95%; raise "
        "--user-rate, 5 now: 2 users offered 10 requests/s"
    ) in problems
    assert "Failed:" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_without_a_rate_a_deployment_of_fixed_size_is_refused(
    iris: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No load could be derived for it; nothing is sent."""
    with (
        CannedService(Artifact.open(iris).card) as service,
        CannedServer(Scaling(lambda _seconds: 1)) as dashboard,
    ):
        arguments = ["scale", "--serve-url", service.url, "--dashboard-url", dashboard.url]
        said = refused(main, [*arguments, "--out", str(tmp_path)], capsys)
    assert "does not scale by itself in this cluster; give the load with --user-rate" in said
    assert service.moments == []


class Loaded(Mapping[str, tuple[int, Any]]):
    """One replica of 1 to 3, whose CPU is busy while ``service`` is asked."""

    def __init__(self, service: CannedService) -> None:
        self._service = service

    def __getitem__(self, path: str) -> tuple[int, Any]:
        if path == SERVE:
            bounds = {"min_replicas": 1, "max_replicas": 3}
            policy = {"policy_kwargs": {"cpu_target": 0.5}}
            config = {"autoscaling_config": {**bounds, "policy": policy}}
            replicas = [replica("RUNNING", "a", 1)]
            return 200, applications(
                target_num_replicas=1, replicas=replicas, deployment_config=config
            )
        if path == "/nodes/a":
            moments = self._service.moments
            is_asked = bool(moments) and time.monotonic() - moments[-1] < 1
            workers = [{"pid": 1, "cpuPercent": 50.0 if is_asked else 5.0}]
            return 200, {"data": {"detail": {"workers": workers}}}
        return ANSWERS[path]

    def __iter__(self) -> Iterator[str]:
        return iter(ANSWERS)

    def __len__(self) -> int:
        return len(ANSWERS)


def test_the_load_follows_from_what_a_request_costs(
    iris: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A little load first, then more; then one that needs a second replica at its target."""
    monkeypatch.setattr(sizing, "CALIBRATION_SECONDS", 8.0)
    monkeypatch.setattr(sizing, "USERS_PER_REPLICA", 10)
    monkeypatch.setattr(sizing, "LAG_SECONDS", 0.0)
    with (
        CannedService(Artifact.open(iris).card) as service,
        CannedServer(Loaded(service)) as dashboard,
    ):
        main(
            [
                *("scale", "--serve-url", service.url, "--dashboard-url", dashboard.url),
                *("--scenario", "surge", "--users", "2", "--seconds", "4", "--settle", "1"),
                *("--out", str(tmp_path)),
            ]
        )
    said = capsys.readouterr()
    found = re.search(
        r"load: (\d+) requests/s, for which 2 replicas are needed: (\d+) keep", said.out
    )
    assert found, said
    rate, capacity = map(int, found.groups())
    assert rate == pytest.approx(1.5 * 0.5 * capacity, abs=2)
    first, second = (read_summary(tmp_path / name / "locust") for name in sizing.CALIBRATIONS)
    assert capacity == pytest.approx(second.rps / (0.50 - 0.05), rel=0.5)
    # What this service shows, 50 %, was taken for the cost of the first load alone.
    assert second.rps == pytest.approx(first.rps * 0.8 * 0.5 / 0.45, rel=0.5)


def test_two_signals_stop_locust_too(iris: Path, tmp_path: Path) -> None:
    """The second one must not break off the stopping that the first one began."""
    with (
        CannedService(Artifact.open(iris).card) as service,
        CannedServer(Scaling(lambda _seconds: 1)) as dashboard,
        subprocess.Popen(
            [
                *(sys.executable, "-u", "-m", "serve_app", "scale", *QUICK, "--seconds", "60"),
                *("--serve-url", service.url, "--dashboard-url", dashboard.url),
                *("--out", str(tmp_path)),
            ],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            cwd=PROJECT,
        ) as run,
    ):
        try:
            wait_until(lambda: service.moments, 60)
            children = psutil.Process(run.pid).children(recursive=True)
            for number in (signal.SIGTERM, signal.SIGINT):
                run.send_signal(number)
                time.sleep(0.3)
            assert run.wait(30) == 130
            assert run.stderr is not None
            assert run.stderr.read().strip().startswith("interrupted; everything")
        finally:
            run.terminate()
    assert children
    assert not psutil.wait_procs(children, timeout=5)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--users", "0"], "0 is not in the range x>=1"),
        (["--user-rate", "-1"], "'--user-rate': -1.0 is not in the range x>0"),
        (["--seconds", "0.4"], "'--seconds': 0.4 is not in the range x>=1"),
        (["--settle", "inf"], "'--settle': inf is not a finite number"),
        (["--max-nodes", "1"], "'--max-nodes': 1 is not in the range x>=2"),
        (["--replicas", "6"], "--replicas 6: each needs a node, and there are --max-nodes 5"),
        (["--scenario", "chaos"], "chaos"),
        (["--serve-url", "http://127.0.0.1:9"], "belong together"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (
            ["--serve-url", "http://127.0.0.1:9", "--dashboard-url", "http://127.0.0.1:9"],
            "cannot be reached",
        ),
    ],
)
def test_bad_input(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the reason, before anything is started."""
    assert words in refused(main, ["scale", *arguments, "--out", str(tmp_path)], capsys)


def test_a_config_that_does_not_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused before a model is trained for it."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    del config["applications"][0]["deployments"][0]["autoscaling_config"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    said = refused(main, ["scale", "--config", str(path), "--out", str(tmp_path)], capsys)
    assert f"{path} is not a Serve config with one autoscaled deployment" in said


def test_a_service_that_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another application behind the address is not loaded."""
    with CannedServer({"/model": (200, {"hello": "world"})}) as server:
        arguments = ["scale", "--serve-url", server.url, "--dashboard-url", server.url]
        assert "no model card of this service" in refused(
            main, [*arguments, "--out", str(tmp_path)], capsys
        )
