"""Users that speak each protocol: the service understands them, and they read its answers."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from loadtest.driver.announced import AnnouncedModels
from loadtest.driver.checks import Row, judge
from loadtest.driver.dialects import Dialect, Grpc, Native, Rest, make_dialect
from loadtest.driver.grpc_channel import grpc_address
from loadtest.driver.options import LOAD_OPTIONS
from serve_app.grpc.generated import open_inference_grpc_pb2 as pb2
from serve_app.grpc.rpcs import Rpcs
from serve_app.inference import MicroBatcher
from serve_app.model.artifact import Artifact
from serve_app.model.card import ModelCard
from serve_app.model.loading import load_predictor
from serve_app.protocols.use_case import UseCase
from serve_app.settings import Settings
from tests.model.test_every_task import FEATURES, INSTANCE, MODELS, ROWS
from tests.support.in_process import ask, make_routes
from tests.support.tables import INSTANCE as MIXED_INSTANCE
from tests.support.tables import Model, mixed_model

PROTOCOLS = LOAD_OPTIONS["protocol"].choices
HEADERS = {"content-type": "application/json"}


def answer(dialect: Dialect, artifact: Artifact, instances: list[dict[str, Any]]) -> bytes:
    """What a service answers to a user."""
    path, body = dialect.request(instances)
    if not isinstance(dialect, Grpc):
        found = ask(make_routes(artifact.directory), "POST", path, body, headers=HEADERS)
        assert found.status == 200, found.body
        return found.body
    predictor = load_predictor(artifact)
    inference = MicroBatcher(predictor, max_rows=64)
    settings = Settings(model_dir=artifact.directory)
    rpcs = Rpcs(UseCase(artifact.card, predictor.engine, inference, settings))
    reply = asyncio.run(rpcs(path.rpartition("/")[2], body, None))
    assert reply.code is grpc.StatusCode.OK, reply.details
    return reply.body


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", MODELS)
def test_answers_of_every_task_are_read(name: str, protocol: str, tmp_path: Path) -> None:
    """One row and several: the estimator's own answers, whatever tensors they came in."""
    estimator, target, task = MODELS[name]
    model = Model(estimator.fit(ROWS, target), task, FEATURES, INSTANCE)
    artifact = model.write(tmp_path / "model")
    instances = [dict(zip("abcd", row, strict=True)) for row in ROWS[::30].tolist()]
    expected = task.answers(model.predictor.predict(ROWS[::30]))
    rows = list(map(Row, instances, expected))
    dialect = make_dialect(protocol, artifact.card)
    models = AnnouncedModels(artifact.card, lambda: artifact.card)
    for some in (rows[:1], rows):
        content = answer(dialect, artifact, [row.instance for row in some])
        verdict = judge(models, dialect, 200, content, some)
        assert verdict == (None, artifact.card.version)
    wrong = [Row(rows[0].instance, rows[-1].expected)]
    if task.problem_with(expected[0], expected[-1]) is not None:
        content = answer(dialect, artifact, [wrong[0].instance])
        assert judge(models, dialect, 200, content, wrong).problem is not None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_columns_of_every_kind_are_sent(protocol: str, tmp_path: Path) -> None:
    """Strings, booleans and datetimes, and gaps in a column or in all of it."""
    mixed = mixed_model()
    artifact = mixed.write(tmp_path / "model")
    gaps: dict[str, Any] = {"age": None, "income": None, "plan": None, "since": None}
    instances = [MIXED_INSTANCE, {**MIXED_INSTANCE, **gaps, "code": 1}, MIXED_INSTANCE]
    expected = mixed.task.answers(mixed.predictor.predict(mixed.rows(*instances)))
    rows = list(map(Row, instances, expected))
    dialect = make_dialect(protocol, artifact.card)
    models = AnnouncedModels(artifact.card, lambda: artifact.card)
    for some in (rows, rows[1:2]):
        content = answer(dialect, artifact, [row.instance for row in some])
        assert judge(models, dialect, 200, content, some) == (None, artifact.card.version)


def test_the_native_requests() -> None:
    """What the two endpoints take."""
    path, body = Native().request([{"x": 5.0}])
    assert (path, json.loads(body)) == ("/predict/", {"x": 5.0})
    path, body = Native().request([{"x": 5.0}] * 2)
    assert (path, json.loads(body)) == ("/predict/batch/", {"instances": [{"x": 5.0}] * 2})


def of_rest(**output: Any) -> bytes:
    first = {"name": "predict", "shape": [1, 1], "datatype": "BYTES", "data": ["setosa"]}
    second = {"name": "predict_proba", "shape": [1, 3], "data": [0.9, 0.1, 0.0]}
    return json.dumps({"model_version": VERSION, "outputs": [first, {**second, **output}]}).encode()


VERSION = "0" * 12


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ({}, None),
        ({"data": [0.1, 0.9, 0.0]}, "not the most probable"),
        ({"data": [0.9, 0.1]}, "not an answer of this service: ValueError"),
        ({"name": "scores"}, "not an answer of this service: KeyError"),
        ({"shape": [2, 3], "data": [0.9, 0.1, 0.0] * 2}, "ValueError"),
        ({"shape": [3]}, "ValueError"),
    ],
)
def test_wrong_tensors_are_named(card: ModelCard, output: dict[str, Any], problem: Any) -> None:
    """Elements that are too few, outputs that are missing, and numbers that are wrong."""
    known = card.model_copy(update={"version": VERSION})
    models = AnnouncedModels(known, lambda: known)
    verdict = judge(models, Rest(known), 200, of_rest(**output), [Row({}, None)])
    if problem is None:
        assert verdict == (None, VERSION)
    else:
        assert problem in (verdict.problem or "")


def test_fewer_rows_over_grpc_are_named(card: ModelCard) -> None:
    """An answer to one row is none to two."""
    response = pb2.ModelInferResponse(model_version=card.version)
    labels = response.outputs.add(name="predict", datatype="BYTES", shape=[1, 1])
    labels.contents.bytes_contents.append(b"setosa")
    scores = response.outputs.add(name="predict_proba", datatype="FP64", shape=[1, 3])
    scores.contents.fp64_contents.extend(np.array([1.0, 0.0, 0.0]))
    models = AnnouncedModels(card, lambda: card)
    rows = [Row({}, None)] * 2
    verdict = judge(models, Grpc(card), 200, response.SerializeToString(), rows)
    assert verdict.problem == "1 predictions for 2 rows"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("http://localhost:8000", "localhost:9000"),
        ("http://10.0.0.1", "10.0.0.1:9000"),
        ("http://[::1]:8000", "[::1]:9000"),
        ("http://localhost:8123", "localhost:9123"),
        ("http://10.0.0.1:80", "10.0.0.1:9000"),
    ],
)
def test_grpc_is_where_the_service_has_it(host: str, address: str) -> None:
    """On the host that is loaded, and as far from its usual port as HTTP is, unless it was said."""
    assert grpc_address(host) == address
