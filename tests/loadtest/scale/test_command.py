"""The scale run's command line: what cannot work is refused at once, in one line."""

from pathlib import Path

import pytest
import yaml
from loadtest.scale.command import main

from tests.support.canned_server import CannedServer
from tests.support.command_lines import refused
from tests.support.service import CONFIG


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--users", "0"], "--users 0"),
        (["--user-rate", "-1"], "--user-rate -1.0"),
        (["--seconds", "0"], "--seconds"),
        (["--seconds", "0.4"], "--seconds 0.4: must be a number, 1 or more"),
        (["--seconds", "inf"], "--seconds inf"),
        (["--user-rate", "nan"], "--user-rate nan"),
        (["--max-p99-ms", "nan"], "--max-p99-ms nan"),
        (["--min-rps", "-1"], "--min-rps -1"),
        (["--settle", "inf"], "--settle inf"),
        (["--downscale-delay", "-1"], "--downscale-delay -1"),
        (["--node-idle", "nan"], "--node-idle nan"),
        (["--max-nodes", "1"], "--max-nodes 1"),
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
    assert words in refused(main, [*arguments, "--out", str(tmp_path)], capsys)


def test_a_config_that_does_not_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused before a model is trained for it."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    del config["applications"][0]["deployments"][0]["autoscaling_config"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    said = refused(main, ["--config", str(path), "--out", str(tmp_path)], capsys)
    assert f"{path} is not a Serve config with one autoscaled deployment" in said


def test_a_service_that_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another application behind the address is not loaded."""
    with CannedServer({"/model": (200, {"hello": "world"})}) as server:
        arguments = ["--serve-url", server.url, "--dashboard-url", server.url]
        assert "no model card of this service" in refused(
            main, [*arguments, "--out", str(tmp_path)], capsys
        )
