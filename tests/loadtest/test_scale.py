"""The scale run's command line: what cannot work is refused at once, in one line."""

from pathlib import Path

import pytest

from loadtest.scale import main
from tests.support.canned_server import CannedServer


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run, expect exit code 2, and return the last line of standard error."""
    try:
        code = main(arguments)
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--users", "0"], "--users 0"),
        (["--user-rate", "-1"], "--user-rate -1.0"),
        (["--seconds", "0"], "--seconds"),
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
    assert words in refused([*arguments, "--out", str(tmp_path)], capsys)


def test_a_service_that_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another application behind the address is not loaded."""
    with CannedServer({"/model": (200, {"hello": "world"})}) as server:
        arguments = ["--serve-url", server.url, "--dashboard-url", server.url]
        assert "no model card of this service" in refused(
            [*arguments, "--out", str(tmp_path)], capsys
        )
