"""Locust as its users run it, against a canned service."""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

from loadtest.driver.curve import read_curve
from loadtest.driver.options import LOAD_OPTIONS
from loadtest.driver.results import read_summary
from loadtest.driver.scenarios import SCENARIOS
from serve_app.model.artifact import Artifact
from serve_app.runtime.ports import free_port, listens
from serve_app.runtime.processes import Command
from tests.support.canned_server import CannedServer
from tests.support.canned_service import CannedService
from tests.support.grpc_service import server_of
from tests.support.service import PROJECT
from tests.support.waiting import wait_until

NOBODY = "http://127.0.0.1:9"


def locust(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the load test to its end."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless"),
            *("--only-summary", *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=PROJECT,
    )


@pytest.mark.parametrize("close_all", [False, True])
def test_a_closed_connection_is_opened_again_once(
    iris: Path, tmp_path: Path, *, close_all: bool
) -> None:
    """A request that meets a closing connection is sent again, and named; twice is a failure."""
    prefix = tmp_path / "run"
    with CannedService(Artifact.open(iris).card, answers=0 if close_all else 2) as service:
        done = locust(
            *("--host", service.url, "--scenario", "open-loop", "-u", "2", "--user-rate", "5"),
            *("-t", "4s", "--csv", str(prefix), "--model-dir", ""),
        )
    summary = read_summary(prefix)
    assert summary.sent_again > 0, done.stderr
    assert summary.requests > 4
    if not close_all:
        assert (done.returncode, summary.failures) == (0, 0), done.stderr
        return
    assert done.returncode == 1
    assert "closed" in summary.failed_by_cause
    assert f"may: {summary.failed_by_cause}" in done.stderr


def test_a_new_model_version_is_no_failure(iris: Path, tmp_path: Path) -> None:
    """An upgrade under load: the service announces what answers, and the result shows the mix."""
    card = Artifact.open(iris).card
    prefix = tmp_path / "run"
    with CannedService(card) as service, ThreadPoolExecutor(1) as upgrade:

        def retrain() -> None:
            wait_until(lambda: len(service.moments) > 5, 60)
            service.card = card.model_copy(update={"version": "1" * 12})

        retrained = upgrade.submit(retrain)
        done = locust(
            *("--host", service.url, "--scenario", "open-loop", "-u", "2", "--user-rate", "5"),
            *("-t", "4s", "--csv", str(prefix), "--model-dir", ""),
        )
        retrained.result()
    assert done.returncode == 0, done.stderr
    summary = read_summary(prefix)
    assert summary.versions.keys() == {card.version, "1" * 12}
    assert sum(summary.versions.values()) == summary.requests
    # A request that is under way at the end may be in one count and not yet in the other.
    (said,) = re.findall("answered by (.*)", done.stderr)
    assert set(re.findall(r"([0-9a-f]{12}) \(\d+ x\)", said)) == summary.versions.keys()


def test_the_open_loop_sends_at_even_intervals(iris: Path, tmp_path: Path) -> None:
    """The gaps of one user are alike; random arrivals scatter by as much as their mean."""
    with CannedService(Artifact.open(iris).card) as service:
        done = locust(
            *("--host", service.url, "--scenario", "open-loop", "-u", "1", "--user-rate", "5"),
            *("-t", "7s", "--model-dir", ""),
        )
    assert done.returncode == 0, done.stderr
    gaps = [after - before for before, after in pairwise(service.moments)]
    assert len(gaps) > 15
    assert statistics.stdev(gaps) < 0.5 * statistics.mean(gaps)


def test_a_curve_holds_what_each_of_its_steps_answered(iris: Path, tmp_path: Path) -> None:
    """Steps of a second do not mix: together they hold the answers of the whole run."""
    curve, prefix = tmp_path / "curve.csv", tmp_path / "run"
    with CannedService(Artifact.open(iris).card) as service:
        done = locust(
            *("--host", service.url, "--scenario", "steps", "-u", "20", "--user-rate", "2"),
            *("-t", "10s", "--model-dir", ""),
            *("--curve", str(curve), "--csv", str(prefix)),
        )
    assert done.returncode == 0, done.stderr
    steps = read_curve(curve)
    assert len(steps) == 10
    answers = sum(step.achieved_rps * step.seconds for step in steps)
    assert answers == pytest.approx(read_summary(prefix).requests, rel=0.25)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", NOBODY), "cannot be reached"),
        ((), "--host is missing"),
        (("--host", NOBODY, "--users", "0"), "--users 0"),
        (("--host", NOBODY, "--user-rate", "nan"), "--user-rate: nan"),
        (("--host", NOBODY, "--curve", "curve.csv"), "--curve curve.csv"),
        (("--host", NOBODY, "--model-dir", "nope"), "--model-dir: "),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, before there is any load."""
    done = locust(*arguments)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert words in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--protocol", "v2"), "has no /v2/models/iris/ready; add v2 to `protocols`"),
        (("--protocol", "grpc", "--grpc-address", "127.0.0.1:9"), "127.0.0.1:9 answered UNAVAIL"),
    ],
)
def test_a_protocol_that_is_not_spoken_is_refused_in_one_line(
    iris: Path, arguments: tuple[str, ...], words: str
) -> None:
    """Exit code 2, with the fix: otherwise every request of the load would fail."""
    card = json.loads(Artifact.open(iris).card.model_dump_json())
    with CannedServer({"/model": (200, card)}) as service:
        done = locust("--host", service.url, "--model-dir", "", *arguments)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert words in line


def test_a_call_that_fails_is_named_by_its_status(iris: Path, tmp_path: Path) -> None:
    """Of gRPC; the load goes on, and its exit code is 1."""

    async def ready(_request: bytes, _context: Any) -> bytes:
        return b""

    async def fail(_request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "no replica is up")
        return b""

    card = json.loads(Artifact.open(iris).card.model_dump_json())
    methods = {"ModelReady": ready, "ModelInfer": fail}
    with (
        CannedServer({"/model": (200, card)}) as service,
        server_of("inference.GRPCInferenceService", methods) as calls,
    ):
        done = locust(
            *("--host", service.url, "--scenario", "open-loop", "-u", "2", "--user-rate", "5"),
            *("-t", "3s", "--csv", str(tmp_path / "run"), "--model-dir", ""),
            *("--protocol", "grpc", "--grpc-address", calls.address),
        )
    assert done.returncode == 1, done.stderr
    summary = read_summary(tmp_path / "run")
    assert summary.requests > 4
    assert dict(summary.causes) == {"status UNAVAILABLE": summary.failures}


def test_a_curve_that_cannot_be_written_is_refused_at_once(iris: Path) -> None:
    """Not after the load, and not with success."""
    with CannedService(Artifact.open(iris).card) as service:
        done = locust("--host", service.url, "--scenario", "steps", "--curve", "/nowhere/x.csv")
    assert done.returncode == 2
    assert "error: --curve /nowhere/x.csv: cannot be written (No such" in done.stderr
    assert service.moments == []


def test_the_web_ui_offers_the_scenarios_and_checks(tmp_path: Path) -> None:
    """The page holds every option of the load test, with the scenarios as choices."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "locust", "-f", str(PROJECT / "loadtest/locustfile.py")),
        *("--web-host", "127.0.0.1", "--web-port", str(port)),
    ]
    with Command(command, log=tmp_path / "log", directory=PROJECT) as ui:
        ui.wait_until(lambda: listens(port), 60)
        page = httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text
    (arguments,) = re.findall(r"window.templateArgs = (.*?)\n", page)
    offered = json.loads(arguments)["extra_options"]
    assert offered["scenario"]["choices"] == list(SCENARIOS)
    assert set(LOAD_OPTIONS) <= set(offered)


@pytest.mark.parametrize("more", [(), ("--users", "0")])
def test_a_refusal_ends_the_workers(more: tuple[str, ...], tmp_path: Path) -> None:
    """Workers that Locust forked would otherwise serve the next test's master."""
    port = str(free_port())
    with (tmp_path / "errors").open("w+", encoding="utf-8") as errors:
        master = subprocess.Popen(
            [
                *(sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless"),
                *("--host", NOBODY, "--processes", "2", *more),
                *("--master-port", port, "--master-bind-port", port),
            ],
            stdout=errors,
            stderr=errors,
            cwd=PROJECT,
            start_new_session=True,
        )
        try:
            assert master.wait(30) == 2
            assert ends(master.pid)
        finally:
            for process in session(master.pid):
                process.kill()
        errors.seek(0)
        assert errors.read().count("error: ") == 1


def session(leader: int) -> list[psutil.Process]:
    """Processes of one session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def ends(leader: int) -> bool:
    """Whether all processes of a session end soon."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not session(leader):
            return True
        time.sleep(0.2)
    return False
