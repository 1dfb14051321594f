"""A heavy model, and CPU targets that hold where nodes share one machine."""

from pathlib import Path
from typing import Any

import pytest

from loadtest.scale.one_machine import Machine, cpu_seconds_per_request, prepare_machine
from serve_app.autoscaling import Observation, Targets, desired_replicas
from serve_app.serve_config import ServeConfig
from tests.support.service import CONFIG


@pytest.mark.parametrize("replicas", [2, 3, 4, 5])
@pytest.mark.parametrize("cpu_target", [0.24, 0.6])
def test_the_peak_needs_so_many_replicas(replicas: int, cpu_target: float) -> None:
    """The policy itself says so, with all of them running."""
    rate = Machine(2, 0.4, Path(), 0.006, cpu_target).rate_for(replicas)
    targets = Targets(cpu_utilisation=cpu_target)
    for running in (replicas - 1, replicas):
        busy = min(rate * 0.006 / running, 1.0)
        seen = Observation(running, running, running, busy, 0)
        assert desired_replicas(seen, targets) == replicas


def test_a_request_costs_what_the_model_costs(iris_forest: Path, iris: Path) -> None:
    """A forest of 100 trees costs more than a logistic regression."""
    assert cpu_seconds_per_request(iris_forest) > cpu_seconds_per_request(iris) > 0.001


def test_the_machine_is_ready_to_serve() -> None:
    """The model exists meanwhile, and the target is the config's on a node's share."""
    with prepare_machine(1000, 0.6) as machine:
        assert machine.model_dir.is_dir()
        assert machine.cpu_target == pytest.approx(0.6 * machine.cores / 1000)
        assert machine.rate_for(4) == pytest.approx(3.5 * machine.cpu_target / machine.cpu_seconds)
    assert not machine.model_dir.exists()
    with prepare_machine(1, 0.6, cpu_target=0.3) as machine:
        assert (machine.share, machine.cpu_target) == (1.0, 0.3)


def test_the_config_differs_only_where_one_machine_needs_it() -> None:
    """All else stays as deployed, and the original stays as it is."""
    config = ServeConfig.read(CONFIG)
    machine = Machine(2, 0.4, Path("forest"), 0.006, cpu_target=0.24)
    fitted = machine.fit(config, port=8123, max_replicas=3, downscale_delay_s=15)
    assert config.document == ServeConfig.read(CONFIG).document
    assert dict(differences(fitted.document, config.document)) == {
        "proxy_location": "HeadOnly",
        "http_options.host": "127.0.0.1",
        "http_options.port": 8123,
        "grpc_options.port": 9123,
        "applications.0.args.model_dir": str(Path("forest").absolute()),
        "applications.0.args.engine": "sklearn",
        "applications.0.args.max_batch_rows": 1,
        "applications.0.deployments.0.autoscaling_config.downscale_delay_s": 15,
        "applications.0.deployments.0.autoscaling_config.max_replicas": 3,
        "applications.0.deployments.0.autoscaling_config.policy.policy_kwargs.cpu_target": 0.24,
    }


def differences(changed: Any, before: Any, path: str = "") -> list[tuple[str, Any]]:
    """Path and value of everything in ``changed`` that ``before`` does not have so."""
    if isinstance(changed, list):
        changed, before = dict(enumerate(changed)), dict(enumerate(before))
    if not isinstance(changed, dict):
        return [] if changed == before else [(path, changed)]
    return [
        found
        for name, value in changed.items()
        for found in differences(value, (before or {}).get(name), f"{path}.{name}".lstrip("."))
    ]
