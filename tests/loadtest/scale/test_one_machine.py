"""Honest targets for pretended nodes."""

import copy
from pathlib import Path

import pytest
import yaml

from loadtest.scale.one_machine import (
    cpu_seconds_per_request,
    fit_config,
    prepare_machine,
    rate_for,
    share_of_machine,
)
from serve_app.autoscaling import Observation, Targets, desired_replicas
from tests.support.service import CONFIG


def test_nodes_share_the_machine() -> None:
    """Five nodes on two cores have two fifths of a core each; one node never has two cores."""
    assert share_of_machine(2, 5) == 0.4
    assert share_of_machine(8, 5) == 1.0


@pytest.mark.parametrize("replicas", [2, 3, 4, 5])
@pytest.mark.parametrize("cpu_target", [0.24, 0.6])
def test_the_peak_needs_so_many_replicas(replicas: int, cpu_target: float) -> None:
    """The policy itself says so, with all of them running."""
    rate = rate_for(replicas, cpu_target=cpu_target, cpu_seconds=0.006)
    targets = Targets(cpu_utilisation=cpu_target)
    for running in (replicas - 1, replicas):
        busy = min(rate * 0.006 / running, 1.0)
        seen = Observation(running, running, running, busy, 0)
        assert desired_replicas(seen, targets) == replicas


def test_a_request_costs_what_the_model_costs(iris_forest: Path, iris: Path) -> None:
    """A forest of 100 trees is dearer than a logistic regression."""
    assert cpu_seconds_per_request(iris_forest) > cpu_seconds_per_request(iris) > 0.001


def test_the_machine_is_ready_to_serve() -> None:
    """A model that is there meanwhile, and a target that is the config's on a node's share."""
    with prepare_machine(1000, config_target=0.6) as machine:
        assert machine.model_dir.is_dir()
        assert machine.cpu_target == pytest.approx(0.6 * machine.cores / 1000)
        assert machine.rate_for(4) == pytest.approx(3.5 * machine.cpu_target / machine.cpu_seconds)
    assert not machine.model_dir.exists()
    with prepare_machine(1000, config_target=0.6, cpu_target=0.3) as machine:
        assert machine.cpu_target == 0.3


def test_the_config_is_the_projects_own_but_for_this_machine() -> None:
    """Everything that is not about one machine stays as deployed."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    before = copy.deepcopy(config)
    fitted = fit_config(
        config,
        model_dir=Path("forest"),
        port=8123,
        cpu_target=0.24,
        downscale_delay_s=15,
        max_replicas=3,
    )
    assert config == before, "the original is left alone"
    assert fitted["http_options"].pop("port") == 8123
    assert fitted["http_options"].pop("host") == "127.0.0.1"
    assert fitted.pop("proxy_location") == "HeadOnly"
    args = fitted["applications"][0]["args"]
    assert args.pop("model_dir") == str(Path("forest").absolute())
    assert args.pop("engine") == "sklearn"
    assert args.pop("max_batch_rows") == 1, "a row costs what was timed for one"
    scaling = fitted["applications"][0]["deployments"][0]["autoscaling_config"]
    assert scaling.pop("downscale_delay_s") == 15
    assert scaling.pop("max_replicas") == 3
    assert scaling["policy"]["policy_kwargs"].pop("cpu_target") == 0.24
    assert is_part_of(fitted, before)


def is_part_of(part: object, whole: object) -> bool:
    """Whether ``part`` says nothing that ``whole`` does not say."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and is_part_of(part[name], whole[name]) for name in part)
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) == len(whole) and all(map(is_part_of, part, whole))
    return part == whole
