"""The comparison of policies, but for the cluster: variants, results, bad input."""

from functools import partial
from pathlib import Path

import pytest
import yaml

from loadtest.scale.samples import Snapshot
from serve_app.cli.main import run
from serve_app.serve_config import Scaling, ServeConfig
from studies.policies import NEEDED, VARIANTS, judge, policies
from tests.support.command_lines import refused
from tests.support.service import CONFIG

main = partial(run, policies, name="python -m studies.policies")


def snapshot(second: int, users: int, running: int, p99: float | None, requests: int) -> Snapshot:
    return Snapshot(
        float(second),
        users=users,
        requests=requests,
        p99_ms=p99,
        replicas_desired=running if second < 3 else 4,
        replicas_running=running,
    )


RUN = [
    snapshot(0, 1, 1, None, 0),
    snapshot(1, 1, 1, 9000, 1),
    snapshot(2, 10, 1, 100, 11),
    snapshot(3, 10, 1, 700, 21),
    snapshot(4, 10, 4, 500, 31),
    snapshot(5, 10, 4, 8000, 41),
    snapshot(6, 0, 4, None, 41),
    snapshot(7, 0, 4, None, 41),
    snapshot(8, 0, 1, None, 41),
]


def test_the_p99_is_that_of_the_ramp() -> None:
    """From the rise until enough replicas run; neither what was before it nor what came after."""
    result = judge("x", RUN, enough=NEEDED)
    assert result.ramp_p99_ms == 700
    assert (result.asked_seconds, result.enough_seconds, result.most_desired) == (1, 2, 4)


def test_without_enough_replicas_the_ramp_lasts_as_long_as_the_load() -> None:
    """Then the worst ten seconds of it count."""
    result = judge("x", RUN, enough=5)
    assert result.enough_seconds is None
    assert result.ramp_p99_ms == 8000


def test_the_scale_in_counts_from_the_last_answer() -> None:
    """Until no more replicas run than at first; never if the run ended before."""
    assert judge("x", RUN, enough=NEEDED).scaled_in_seconds == 3
    assert judge("x", RUN[:-1], enough=NEEDED).scaled_in_seconds is None
    assert judge("x", RUN[:3], enough=NEEDED).scaled_in_seconds is None, "there was no scale-out"


@pytest.mark.parametrize("snapshots", [[Snapshot(0.0)], [Snapshot(0.0), Snapshot(1.0)]])
def test_a_run_without_users_is_judged_too(snapshots: list[Snapshot]) -> None:
    """Locust may have died before."""
    result = judge("x", snapshots, enough=NEEDED)
    assert (result.enough_seconds, result.row["enough running, s"]) == (None, "never")


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_what_ray_accepts(name: str) -> None:
    """And only those whose scale-in is recorded can have one."""
    config = VARIANTS[name].apply(ServeConfig.read(CONFIG))
    options = dict(config.deployment["autoscaling_config"])
    assert ("policy" in options) == (VARIANTS[name].autoscaling.get("policy", "") is not None)
    options.pop("policy", None)
    scaling = Scaling(1, 300, options).autoscaling
    assert (scaling.downscale_delay_s < 100) == VARIANTS[name].scales_in


def test_downscale_delays_are_compared() -> None:
    """A short one beside the one that is configured."""
    assert sum(variant.scales_in for variant in VARIANTS.values()) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--users", "0"], "'--users': 0"),
        (["--seconds", "0.4"], "'--seconds': 0.4"),
        (["--seconds", "inf"], "'--seconds': inf"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--variant", "none"], "none"),
    ],
)
def test_bad_input(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and exit code 2, before anything is trained or started."""
    assert words in refused(main, [*arguments, "--out", str(tmp_path)], capsys)


def test_a_config_that_does_not_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a policy there is no CPU target to compare at."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    del config["applications"][0]["deployments"][0]["autoscaling_config"]["policy"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    said = refused(main, ["--config", str(path), "--out", str(tmp_path)], capsys)
    assert f"{path} is not a Serve config with one autoscaled deployment" in said
