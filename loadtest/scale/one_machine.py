"""A heavy model, and CPU targets that hold where worker nodes share one machine.

Worker nodes of the local cluster have one CPU each in Ray's eyes, but share this machine's cores
with each other, with Locust and with Ray itself. Without correction the machine would be full
long before the replicas are.
"""

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

from loadtest.scale.sizing import rate_for
from serve_app.model.artifact import Artifact
from serve_app.model.loading import load_predictor
from serve_app.packaging.recipes import MINIMUM_ACCURACY
from serve_app.packaging.train import train
from serve_app.runtime.ports import LOOPBACK
from serve_app.serve_config import ServeConfig

ESTIMATOR = "random_forest"
ENGINE: Final = "sklearn"
"""Some 5 ms of CPU for each request: a hundred requests a second keep replicas busy."""
ARGUMENTS: Final[Mapping[str, Any]] = {"engine": ENGINE, "max_batch_rows": 1}
"""Arguments of the application: rows that are predicted together would cost less than measured."""
HTTP_SECONDS = 0.001
"""CPU time of a request beside the model: about this on a slow core."""
TIMED_PREDICTIONS = 50


def train_heavy_model(directory: Path) -> None:
    """Write a model directory whose model needs much CPU for each answer."""
    train(directory, estimator=ESTIMATOR, minimum_accuracy=MINIMUM_ACCURACY)


def cpu_seconds_per_request(model_dir: Path) -> float:
    """CPU time that one request costs a replica, from timing the model in this process."""
    artifact = Artifact.open(model_dir)
    predictor = load_predictor(artifact, ENGINE)
    row = np.array([list(artifact.card.example.values())])
    timings = []
    for _ in range(TIMED_PREDICTIONS):
        started = time.process_time()
        predictor.predict(row)
        timings.append(time.process_time() - started)
    return statistics.median(timings) + HTTP_SECONDS


@dataclass(frozen=True)
class Machine:
    """This machine, ready to serve a heavy model on worker nodes that are processes."""

    cores: int
    share: float
    """Real CPUs behind each CPU of a node if all nodes are busy; at most 1."""
    model_dir: Path
    cpu_seconds: float
    """See `cpu_seconds_per_request`."""
    cpu_target: float
    """CPU utilisation of a replica that corresponds to the config's target on a whole CPU."""

    def rate_for(self, replicas: int) -> float:
        """Requests per second for which ``replicas`` are needed, and one fewer is not enough.

        A replica at its target has ``cpu_target`` CPU seconds a second to spend (utilisation law).
        """
        return rate_for(replicas, self.cpu_target, 1 / self.cpu_seconds)

    def fit(
        self, config: ServeConfig, *, port: int, max_replicas: int, **autoscaling: Any
    ) -> ServeConfig:
        """``config`` with what has to differ on one machine, and with other autoscaling options."""
        return config.at(LOOPBACK, port).override(
            # All nodes share one address: only one of them can have the port.
            proxy_location="HeadOnly",
            args={"model_dir": str(self.model_dir.absolute()), **ARGUMENTS},
            autoscaling={"max_replicas": max_replicas, **autoscaling},
            cpu_target=self.cpu_target,
        )


@contextmanager
def prepare_machine(
    nodes: int, config_target: float, cpu_target: float | None = None
) -> Iterator[Machine]:
    """Train the model and time it; the model is removed on exit.

    ``cpu_target`` is aimed at instead of ``config_target`` on a node's share, of ``nodes`` at most.
    """
    cores = len(os.sched_getaffinity(0))
    share = min(1.0, cores / nodes)
    with tempfile.TemporaryDirectory(prefix="heavy-model-") as scratch:
        model_dir = Path(scratch, "model")
        train_heavy_model(model_dir)
        cpu_seconds = cpu_seconds_per_request(model_dir)
        yield Machine(cores, share, model_dir, cpu_seconds, cpu_target or config_target * share)
