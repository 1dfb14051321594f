"""What a cluster of pretended nodes on one machine needs: a heavy model, and honest targets.

Worker nodes of the local cluster have one CPU each in Ray's eyes, but share this machine's cores
with each other, with Locust and with Ray itself. Without correction the machine would be full
long before the replicas are.
"""

import copy
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from serve_app.model.artifact import Artifact
from serve_app.model.loading import load_predictor
from serve_app.packaging.train import MINIMUM_ACCURACY, train

ESTIMATOR = "random_forest"
ENGINE: Final = "sklearn"
"""Some 5 ms of CPU for each request: a hundred requests a second keep replicas busy."""
ARGUMENTS: Final[Mapping[str, Any]] = {"engine": ENGINE, "max_batch_rows": 1}
"""The application's: rows that are predicted together would cost less than those that are timed."""
HTTP_SECONDS = 0.001
"""CPU time of a request beside the model: about this on a slow core."""
TIMED_PREDICTIONS = 50


def train_heavy_model(directory: Path) -> None:
    """Write a model directory whose model needs much CPU for its answers."""
    train(directory, estimator=ESTIMATOR, minimum_accuracy=MINIMUM_ACCURACY)


def cpu_seconds_per_request(model_dir: Path) -> float:
    """CPU time that one request will cost a replica, from timing the model in this process."""
    artifact = Artifact.open(model_dir)
    predictor = load_predictor(artifact, ENGINE)
    sample = artifact.card.sample.instance
    row = np.array([[sample[name] for name in artifact.card.feature_names]])
    timings = []
    for _ in range(TIMED_PREDICTIONS):
        started = time.process_time()
        predictor.predict(row)
        timings.append(time.process_time() - started)
    return statistics.median(timings) + HTTP_SECONDS


def share_of_machine(cores: int, nodes: int) -> float:
    """Real CPUs behind each CPU of a node if all nodes are busy; at most 1."""
    return min(1.0, cores / nodes)


def rate_for(replicas: int, *, cpu_target: float, cpu_seconds: float) -> float:
    """Requests per second for which ``replicas`` are needed, and one fewer is not enough.

    A replica at its target has ``cpu_target`` CPU seconds a second to spend (utilisation law).
    """
    return (replicas - 0.5) * cpu_target / cpu_seconds


@dataclass(frozen=True)
class Machine:
    """This machine, ready to serve a heavy model on pretended nodes."""

    cores: int
    share: float
    """See `share_of_machine`."""
    model_dir: Path
    cpu_seconds: float
    """See `cpu_seconds_per_request`."""
    cpu_target: float
    """CPU utilisation of a replica that is the config's target on a whole CPU."""

    def rate_for(self, replicas: int) -> float:
        """See the function of the same name."""
        return rate_for(replicas, cpu_target=self.cpu_target, cpu_seconds=self.cpu_seconds)


@contextmanager
def prepare_machine(
    nodes: int, *, config_target: float, cpu_target: float | None = None
) -> Iterator[Machine]:
    """Train the model and time it.

    Args:
        nodes: pretended nodes, at most.
        config_target: the Serve config's CPU target.
        cpu_target: what to aim at instead of the config's target on a node's share.
    """
    cores = len(os.sched_getaffinity(0))
    share = share_of_machine(cores, nodes)
    with tempfile.TemporaryDirectory(prefix="heavy-model-") as scratch:
        model_dir = Path(scratch, "model")
        train_heavy_model(model_dir)
        cpu_seconds = cpu_seconds_per_request(model_dir)
        yield Machine(cores, share, model_dir, cpu_seconds, cpu_target or config_target * share)


def fit_config(
    config: Mapping[str, Any],
    *,
    model_dir: Path,
    port: int,
    cpu_target: float,
    downscale_delay_s: float,
    max_replicas: int,
) -> dict[str, Any]:
    """The Serve config with what has to differ on one machine."""
    fitted = copy.deepcopy(dict(config))
    # All nodes share one address: only one of them can have the port.
    fitted["proxy_location"] = "HeadOnly"
    fitted["http_options"] |= {"host": "127.0.0.1", "port": port}
    (application,) = fitted["applications"]
    application["args"] |= {"model_dir": str(model_dir.absolute()), **ARGUMENTS}
    (deployment,) = application["deployments"]
    autoscaling = deployment["autoscaling_config"]
    autoscaling |= {"downscale_delay_s": downscale_delay_s, "max_replicas": max_replicas}
    autoscaling["policy"].setdefault("policy_kwargs", {})["cpu_target"] = cpu_target
    return fitted
