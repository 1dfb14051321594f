"""``serve-app load`` against the real service: every way to run it, and its exit codes."""

import contextlib
import csv
import json
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest

from loadtest.driver.curve import read_curve
from serve_app.model.card import ModelCard
from serve_app.runtime.ports import free_port
from serve_app.runtime.processes import Command
from tests.support.canned_service import CannedService
from tests.support.service import PROGRAM, Service

LOAD = (*PROGRAM, "load")


def load(url: str, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the load test as a user would; raw files go to ``directory``."""
    raw = ("--only-summary", "--csv", str(directory / "run"), "--json-file", str(directory / "run"))
    return subprocess.run(
        [*LOAD, "--host", url, *arguments, "--", *raw],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def totals(directory: Path) -> dict[str, str]:
    with (directory / "run_stats.csv").open(encoding="utf-8", newline="") as file:
        return next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")


def test_every_answer_is_right(service: Service, iris: Path, tmp_path: Path) -> None:
    """Real rows get the classes that the model gives them here; raw files are kept."""
    done = load(
        service.url,
        tmp_path,
        *("open-loop", "--users", "20", "--seconds", "5", "--model-dir", str(iris)),
        *("--max-p99-ms", "10000", "--min-rps", "1"),
    )
    assert done.returncode == 0, done.stderr
    assert "checking every answer" in done.stderr
    assert int(totals(tmp_path)["Request Count"]) > 20
    assert totals(tmp_path)["Failure Count"] == "0"
    (entry,) = json.loads((tmp_path / "run.json").read_text())
    card = ModelCard.model_validate_json((iris / "card.json").read_text(encoding="utf-8"))
    assert entry["name"] == f"/predict/ by model {card.version}"


@pytest.mark.parametrize("protocol", ["v2", "grpc"])
@pytest.mark.parametrize("scenario", ["open-loop", "batch"])
def test_users_speak_other_protocols(
    protocol: str, scenario: str, service: Service, iris: Path, tmp_path: Path
) -> None:
    """One row or many: every answer is the one that the model gives here, by its version."""
    done = load(
        service.url,
        tmp_path,
        *(scenario, "--users", "10", "--seconds", "4", "--model-dir", str(iris)),
        *("--protocol", protocol, "--grpc-address", service.grpc_address),
    )
    assert done.returncode == 0, done.stderr
    assert "checking every answer" in done.stderr
    assert int(totals(tmp_path)["Request Count"]) > 4
    card = ModelCard.model_validate_json((iris / "card.json").read_text(encoding="utf-8"))
    (entry,) = json.loads((tmp_path / "run.json").read_text())
    path = {"v2": f"/v2/models/{card.name}/infer", "grpc": "/inference.GRPCInferenceService/"}
    assert entry["name"].startswith(path[protocol])
    assert entry["name"].endswith(f" by model {card.version}")


def test_a_grpc_address_without_a_service_is_refused(
    service: Service, iris: Path, tmp_path: Path
) -> None:
    """Before there is any load, with the address, the status and the fix."""
    address = f"127.0.0.1:{free_port()}"
    done = load(
        service.url,
        tmp_path,
        *("open-loop", "--users", "4", "--seconds", "3", "--model-dir", str(iris)),
        *("--protocol", "grpc", "--grpc-address", address),
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert line.startswith(f"error: --protocol grpc: {address} answered UNAVAILABLE")
    assert "--grpc-address" in line


def test_batches_from_several_processes(service: Service, iris: Path, tmp_path: Path) -> None:
    """``--processes`` and the batch endpoint."""
    done = load(
        service.url,
        tmp_path,
        *("batch", "--users", "4", "--seconds", "8", "--processes", "2", "--model-dir", str(iris)),
    )
    assert done.returncode == 0, done.stderr
    assert int(totals(tmp_path)["Request Count"]) > 0
    assert totals(tmp_path)["Failure Count"] == "0"


def test_wrong_classes_and_broken_limits_are_exit_code_1(
    card: ModelCard, iris: Path, tmp_path: Path
) -> None:
    """A service that always answers the same class fails; each broken limit is named."""
    with CannedService(card) as constant:
        done = load(
            constant.url,
            tmp_path,
            *("open-loop", "--users", "20", "--seconds", "4", "--model-dir", str(iris)),
            *("--min-rps", "1000000", "--max-p99-ms", "0.001"),
        )
    assert done.returncode == 1
    assert "not the classifier's answer" in (tmp_path / "run_failures.csv").read_text()
    failed = [line for line in done.stderr.splitlines() if line.startswith("FAILED: ")]
    for words in ("requests failed", "p99 is", "at least 1000000.0 must be"):
        assert any(words in line for line in failed), failed


def test_steps_make_a_saturation_curve(service: Service, iris: Path, tmp_path: Path) -> None:
    """One row for each step, in the form that the capacity plan reads."""
    curve = tmp_path / "curve.csv"
    done = load(
        service.url,
        tmp_path,
        *("steps", "--users", "50", "--seconds", "20", "--curve", str(curve)),
        *("--model-dir", str(iris)),
    )
    assert done.returncode == 0, done.stderr
    steps = read_curve(curve)
    assert [step.offered_rps for step in steps] == [5.0 * step for step in range(1, 11)]
    assert all(0 < step.achieved_rps < 2 * step.offered_rps for step in steps[3:])
    assert all(0 < step.p50_ms <= step.p99_ms for step in steps)


def test_the_web_ui_starts_a_scenario(service: Service, iris: Path, tmp_path: Path) -> None:
    """Scenario, host and users are chosen in a browser of this machine, and answers are right."""
    port = str(free_port())
    ui = f"http://127.0.0.1:{port}"
    form = {"user_count": "3", "spawn_rate": "3", "host": service.url, "scenario": "open-loop"}
    command = [*LOAD, "--ui", "--model-dir", str(iris), "--"]
    totals: dict[str, float] = {}

    def has_started() -> bool:
        with contextlib.suppress(httpx.ConnectError):
            return bool(httpx.post(f"{ui}/swarm", data=form).json()["success"])
        return False

    def has_answers() -> bool:
        totals.update(httpx.get(f"{ui}/stats/requests").json()["stats"][-1])
        return totals["num_requests"] > 0

    with Command([*command, f"--web-port={port}"], log=tmp_path / "log") as locust:
        locust.wait_until(has_started, seconds=60)
        locust.wait_until(has_answers, seconds=60)
        opened = psutil.Process(locust.pid).net_connections()
    assert {each.laddr.ip for each in opened if each.status == "LISTEN"} == {"127.0.0.1"}
    assert totals["num_failures"] == 0
