"""What a cluster of pretended nodes on one machine needs: a heavy model, and honest targets.

Worker nodes of the local cluster have one CPU each in Ray's eyes, but share this machine's cores
with each other, with Locust and with Ray itself. Without correction the machine would be full
long before the replicas are.
"""

import copy
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from serve_app.artifact import Artifact
from serve_app.predictor import load_predictor
from serve_app.train import MINIMUM_ACCURACY, train

ESTIMATOR = "random_forest"
ENGINE: Final = "sklearn"
"""Some 5 ms of CPU for each request: a hundred requests a second keep replicas busy."""
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
    application["args"] |= {"model_dir": str(model_dir.absolute()), "engine": ENGINE}
    (deployment,) = application["deployments"]
    autoscaling = deployment["autoscaling_config"]
    autoscaling |= {"downscale_delay_s": downscale_delay_s, "max_replicas": max_replicas}
    autoscaling["policy"]["policy_kwargs"]["cpu_target"] = cpu_target
    return fitted
