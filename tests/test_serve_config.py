"""The plan and the simulation take over what the service itself is configured with."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.deployed import POLICY, ConfigError, Deployed, read_serve_config

CONFIG = Path("serve_config.yaml")


def test_reads_the_config_of_the_service() -> None:
    """Bounds, delays and targets are those of serve_config.yaml."""
    (deployment,) = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["applications"][0][
        "deployments"
    ]
    written = deployment["autoscaling_config"]
    deployed = read_serve_config(CONFIG)
    assert deployed.replica_cpus == deployment["ray_actor_options"]["num_cpus"]
    assert deployed.targets.cpu_utilisation == written["policy"]["policy_kwargs"]["cpu_target"]
    assert deployed.targets.ongoing_requests == written["target_ongoing_requests"]
    for name in ("min_replicas", "max_replicas", "upscale_delay_s", "downscale_delay_s"):
        assert getattr(deployed.autoscaling, name) == written[name]


@pytest.mark.parametrize(
    ("deployment", "message"),
    [
        ({}, "is not a Serve config with one autoscaled deployment"),
        ({"autoscaling_config": {"min_replicas": 1}}, "is not a Serve config"),
        (
            {
                "autoscaling_config": {"policy": {"policy_function": "other:policy"}},
                "ray_actor_options": {"num_cpus": 1},
                "max_ongoing_requests": 1,
                "max_queued_requests": 1,
            },
            f"scales by other:policy; only {POLICY} can be simulated",
        ),
    ],
)
def test_bad_config(tmp_path: Path, deployment: dict[str, Any], message: str) -> None:
    """A config that says nothing about autoscaling, or names another policy, is refused."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"applications": [{"deployments": [deployment]}]}))
    with pytest.raises(ConfigError, match=message):
        read_serve_config(path)


def test_ray_checks_the_options() -> None:
    """An option that Ray refuses is named with its value."""
    with pytest.raises(ConfigError, match=r"downscale_delay_s=-5: .*greater than or equal to 0"):
        _ = Deployed(1, 300, {"downscale_delay_s": -5}).autoscaling
