"""Locust against the real service: every way to run it, and its exit codes."""

import contextlib
import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import httpx

from loadtest.driver.curve import read_curve
from loadtest.scale.local_cluster import free_port
from tests.support.service import PROJECT, Service


def locust(
    service: Service,
    model: Path,
    directory: Path,
    *arguments: str,
    locustfile: Path = PROJECT / "loadtest" / "locustfile.py",
) -> subprocess.CompletedProcess[str]:
    """Run the load test as a user would; raw files go to ``directory``."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", str(locustfile), "--headless"),
            *("--host", service.url, "--model-dir", str(model), "--only-summary"),
            *("--csv", str(directory / "run"), "--json-file", str(directory / "run"), *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=PROJECT,
    )


def totals(directory: Path) -> dict[str, str]:
    with (directory / "run_stats.csv").open(encoding="utf-8", newline="") as file:
        return next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")


def test_every_answer_is_right(service: Service, iris: Path, tmp_path: Path) -> None:
    """Real rows get the classes that the model gives them here; raw files are kept."""
    done = locust(
        service, iris, tmp_path, "--scenario", "open-loop", "-u", "20", "-t", "5s",
        "--max-p99-ms", "10000", "--min-rps", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "checking every class" in done.stderr
    assert int(totals(tmp_path)["Request Count"]) > 20
    assert totals(tmp_path)["Failure Count"] == "0"
    (entry,) = json.loads((tmp_path / "run.json").read_text())
    assert entry["name"] == "/predict/"


def test_batches_from_several_processes(service: Service, iris: Path, tmp_path: Path) -> None:
    """``--processes`` and the batch endpoint."""
    done = locust(
        service, iris, tmp_path, "--scenario", "batch", "-u", "4", "-t", "10s", "--processes", "2"
    )
    assert done.returncode == 0, done.stderr
    assert int(totals(tmp_path)["Request Count"]) > 0
    assert totals(tmp_path)["Failure Count"] == "0"


def test_wrong_classes_fail_the_test(service: Service, iris: Path, tmp_path: Path) -> None:
    """Exit code 1 if the service answers something else than the model would."""
    locustfile = tmp_path / "wrong.py"
    locustfile.write_text(
        "import loadtest.driver.checks as answers\n"
        "answers._expected_classes = lambda card, *_: (['virginica'] * 150, '')\n"
        "from loadtest.locustfile import *\n"
    )
    done = locust(service, iris, tmp_path, "-u", "3", "-t", "4s", locustfile=locustfile)
    assert done.returncode == 1
    assert "not the class that the model gives" in (tmp_path / "run_failures.csv").read_text()
    assert "FAILED: " in done.stderr


def test_broken_thresholds_give_exit_code_1(service: Service, iris: Path, tmp_path: Path) -> None:
    """Each broken limit is named."""
    done = locust(
        service, iris, tmp_path, "-u", "3", "-t", "4s", "--min-rps", "1000000",
        "--max-p99-ms", "0.001",
    )  # fmt: skip
    assert done.returncode == 1
    assert "FAILED: p99 is" in done.stderr
    assert "at least 1000000.0 must be" in done.stderr


def test_steps_make_a_saturation_curve(service: Service, iris: Path, tmp_path: Path) -> None:
    """One row for each step, in the form that the capacity plan reads."""
    curve = tmp_path / "curve.csv"
    done = locust(
        service, iris, tmp_path, "--scenario", "steps", "-u", "50", "-t", "30s",
        "--curve", str(curve),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    steps = read_curve(curve)
    assert [step.offered_rps for step in steps] == [5.0 * step for step in range(1, 11)]
    assert all(0 < step.achieved_rps < 2 * step.offered_rps for step in steps[3:])
    assert all(0 < step.p50_ms <= step.p99_ms for step in steps)


def test_predictions_are_all_that_is_at_the_host(
    service: Service, iris: Path, tmp_path: Path
) -> None:
    """A path after the address is a mistake that is found before the load starts."""
    done = locust(service, iris, tmp_path, "--host", f"{service.url}/predict/")
    assert done.returncode == 2
    assert "no model card of this service" in done.stderr


def test_the_web_ui_starts_a_scenario(service: Service, iris: Path, tmp_path: Path) -> None:
    """A person chooses scenario and users in the browser, and sees right answers."""
    ui = f"http://127.0.0.1:{free_port()}"
    command = [
        *(sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py"),
        *("--web-host", "127.0.0.1", "--web-port", ui.rpartition(":")[2]),
        *("--model-dir", str(iris)),
    ]
    with (tmp_path / "log").open("wb") as log:
        locust = subprocess.Popen(command, stdout=log, stderr=log, cwd=PROJECT)
    form = {"user_count": "3", "spawn_rate": "3", "host": service.url, "scenario": "open-loop"}
    started = False
    total: dict[str, float] = {}
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline and not total.get("num_requests"):
            time.sleep(0.5)
            with contextlib.suppress(httpx.ConnectError):
                started = started or httpx.post(f"{ui}/swarm", data=form).json()["success"]
                total = httpx.get(f"{ui}/stats/requests").json()["stats"][-1]
        assert total["num_requests"] > 0
        assert total["num_failures"] == 0
    finally:
        locust.terminate()
        locust.wait(20)
