"""The default model as a replica has it."""

from pathlib import Path

import pytest

from serve_app.grpc.rpcs import Rpcs
from serve_app.inference import MicroBatcher
from serve_app.model.artifact import Artifact
from serve_app.model.loading import load_predictor
from serve_app.protocols.use_case import UseCase
from serve_app.settings import Settings
from tests.support.iris_requests import MAX_ROWS


@pytest.fixture(scope="module")
def use_case(iris: Path) -> UseCase:
    """The default model, with small limits."""
    artifact = Artifact.open(iris)
    predictor = load_predictor(artifact, None)
    settings = Settings(model_dir=iris, max_rows=MAX_ROWS)
    inference = MicroBatcher(predictor, max_rows=settings.max_batch_rows)
    return UseCase(artifact.card, predictor.engine, inference, settings)


@pytest.fixture(scope="module")
def rpcs(use_case: UseCase) -> Rpcs:
    """What answers calls."""
    return Rpcs(use_case)
