"""How a load test ended, beside its thresholds."""

from pathlib import Path

import pytest

from loadtest.scale.dashboard import Dashboard
from loadtest.scale.run import RunError, find_abort, run_load
from loadtest.scale.sampler import Load
from tests.loadtest.scale.test_dashboard import ANSWERS, WATCHED
from tests.support.canned_server import CannedServer


def test_what_locust_refuses_is_refused(tmp_path: Path) -> None:
    """Its reason becomes the run's."""
    load = Load("http://127.0.0.1:9", "open-loop", 1, 1.0, 2.0, tmp_path)
    with (
        CannedServer(ANSWERS) as server,
        Dashboard(server.url, token=None, watched=WATCHED) as dashboard,
        pytest.raises(RunError, match=r"^http://127.0.0.1:9/model cannot be reached"),
    ):
        run_load(dashboard, load, tmp_path)


@pytest.mark.parametrize(
    ("exit_code", "broken", "aborted"),
    [
        (0, [], False),
        (1, ["3 of 36 requests failed"], False),
        (1, [], True),
        (-9, [], True),
        (-9, ["no request was answered"], True),
        (3, [], True),
    ],
)
def test_an_end_that_thresholds_do_not_explain(
    exit_code: int, broken: list[str], *, aborted: bool
) -> None:
    """Killed, or exceptions in users: a run must not pass, and the log is named."""
    found = find_abort(exit_code, broken)
    expected = [f"Locust ended with {exit_code}; locust.log says why"]
    assert found == (expected if aborted else [])
