"""Models to ask about, a service of each, and what it should answer."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, zip_longest
from pathlib import Path
from sys import executable
from typing import Any

from examples import census
from loadtest.driver.checks import sample_rows
from serve_app.client import ServiceClient
from serve_app.model.artifact import Artifact
from serve_app.model.instances import instance_adapter
from serve_app.model.loading import load_predictor
from serve_app.model.predictor import rows_of
from serve_app.packaging.train import train
from serve_app.runtime.ports import LOOPBACK, free_port
from serve_app.runtime.processes import Command
from serve_app.serve_config import find_config
from studies.clients.case import Case

MODELS: Mapping[str, Callable[[Path], object]] = {
    "iris": lambda directory: train(
        directory, estimator="logistic_regression", minimum_accuracy=0.9
    ),
    "census": census.example,
}
"""Numbers only, and numbers, categories and gaps."""
ROWS = 12
GAPS = 6
"""Rows with a value left out, at most; the others are full."""
VERTEX_ROUTE, VERTEX_HEALTH_ROUTE = "/vertex/predict", "/vertex/health"
PLAIN_KINDS = frozenset(("number", "integer"))
START_SECONDS, STOP_SECONDS, PROBE_SECONDS = 150.0, 60.0, 2.0


def make_case(model_dir: Path, url: str, grpc_address: str) -> Case:
    """Rows for the classifier in ``model_dir``, and its own answers to them."""
    artifact = Artifact.open(model_dir)
    card = artifact.card
    drawn, _ = sample_rows(card, model_dir)
    by_class: dict[Any, list[dict[str, Any]]] = {}
    for row in drawn:
        by_class.setdefault((row.expected or {})["predicted_class"], []).append(row.instance)
    # In turn of each class: rows of one class would tell nothing.
    turns = chain.from_iterable(zip_longest(*by_class.values()))
    instances = [dict(each) for each in turns if each is not None][:ROWS]
    optional = [feature.name for feature in card.features if feature.nullable]
    for instance, name in zip(instances[1:], optional[:GAPS], strict=False):
        instance[name] = None
    adapter = instance_adapter(card.features)
    valid = [list(adapter.validate_python(each).values()) for each in instances]
    prediction = load_predictor(artifact).predict(rows_of(card.features, valid))
    answers: list[dict[str, Any]] = card.task.answers(prediction)
    return Case(
        url=url,
        grpc_address=grpc_address,
        vertex_route=VERTEX_ROUTE,
        vertex_health_route=VERTEX_HEALTH_ROUTE,
        name=card.name,
        version=card.version,
        columns=list(card.feature_names),
        optional=optional,
        numeric=all(feature.kind in PLAIN_KINDS for feature in card.features),
        rows=instances,
        labels=[each["predicted_class"] for each in answers],
        probabilities=[list(each["probabilities"].values()) for each in answers],
    )


@contextmanager
def serving(model_dir: Path, log: Path) -> Iterator[Case]:
    """A service of ``model_dir`` in production mode, with the protocols that it has by default.

    Raises:
        ProcessError: it does not start.
    """
    port, grpc_port = free_port(), free_port()
    command = (
        *(executable, "-m", "serve_app", "serve", "--no-dashboard"),
        *("--config", str(find_config()), "--grpc-port", str(grpc_port)),
        f"model_dir={model_dir}",
    )
    variables = {
        "AIP_HTTP_PORT": str(port),
        "AIP_PREDICT_ROUTE": VERTEX_ROUTE,
        "AIP_HEALTH_ROUTE": VERTEX_HEALTH_ROUTE,
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    }
    url = f"http://{LOOPBACK}:{port}"
    with Command(command, log=log, environment=variables, stop_seconds=STOP_SECONDS) as process:
        with ServiceClient(url, timeout_seconds=PROBE_SECONDS) as client:
            process.wait_until(client.is_ready, START_SECONDS)
        process.wait_until(lambda: "] ready" in process.log(), START_SECONDS)
        yield make_case(model_dir, url, f"{LOOPBACK}:{grpc_port}")
