"""Services that the tests of several protocols ask."""

from pathlib import Path

import pytest

from serve_app.http.routes import Routes
from serve_app.model.artifact import Artifact
from serve_app.model.card import ModelCard
from tests.protocols.v2_requests import MAX_ROWS
from tests.support.in_process import make_routes


@pytest.fixture(scope="module")
def routes(iris: Path) -> Routes:
    return make_routes(iris, max_rows=MAX_ROWS)


@pytest.fixture(scope="module")
def mixed_card(mixed_directory: Path) -> ModelCard:
    return Artifact.open(mixed_directory).card


@pytest.fixture(scope="module")
def mixed_routes(mixed_directory: Path) -> Routes:
    return make_routes(mixed_directory)
