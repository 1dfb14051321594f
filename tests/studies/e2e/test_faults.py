"""What the faults of the end-to-end run do to processes, and how their outcomes become a table."""

import subprocess
import sys
from collections import Counter

import pytest

from studies.drill_load import Result
from studies.e2e.cluster import KILL
from studies.e2e.faults import Outcome, table
from tests.support.waiting import wait_until

NAMES = {
    # Names that nothing else on this machine has.
    "ray::E2eReplica": "ray::E2eReplica:classifier:Classifier",
    "e2e-haproxy": "/opt/venv/bin/e2e-haproxy",
}


@pytest.mark.parametrize("name", NAMES)
def test_only_processes_of_that_name_are_killed(name: str) -> None:
    """An actor by its class, a program by its file; another one that is named later runs on."""
    exec_as = ["bash", "-c", 'exec -a "$0" sleep 60']
    with (
        subprocess.Popen([*exec_as, NAMES[name]]) as process,
        subprocess.Popen([*exec_as, "watchdog"]) as other,
    ):
        try:
            wait_until(lambda: _name_of(process.pid) == NAMES[name])
            subprocess.run([sys.executable, "-c", KILL, name], check=True)
            assert process.wait(10) == -9
            assert other.poll() is None
        finally:
            process.kill()
            other.kill()


def test_a_process_that_is_missing_is_named() -> None:
    """Nothing broken must not look like a fault that nobody noticed."""
    done = subprocess.run(
        [sys.executable, "-c", KILL, "no-such-program"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "no process no-such-program" in done.stderr


def test_the_times_of_a_fault_are_one_row() -> None:
    """Failures are added up by status, seconds become a range, notes are kept once."""
    calls = Result("head", 25, Counter({"UNAVAILABLE": 1}), 1.0, 0.5)
    outcomes = [
        Outcome(Result("head", 100, Counter({"503": 2}), 3.2, 1.0, "note"), 40.0, calls),
        Outcome(
            Result("head", 1200, Counter({"503": 1, "lost": 1}), 9.9, 2.5, "note"), 61.0, calls
        ),
        Outcome(Result("worker", 50, Counter(), 0.0, 0.1), 20.0, Result.of("worker", [], 0)),
    ]
    head, worker = table(outcomes)
    assert head == {
        "fault": "head",
        "times": "2",
        "requests": "1,300",
        "failed": "3 x 503, 1 x lost",
        "gRPC calls": "50",
        "failed calls": "2 x UNAVAILABLE",
        "s until the last failure": "3 to 10",
        "slowest answer, s": "2.5",
        "s until whole": "40 to 61",
        "notes": "note",
    }
    assert (worker["failed"], worker["s until whole"]) == ("0", "20")


def _name_of(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - not a file
        return file.read().partition(b"\0")[0].decode()
