"""Services that the tests of several protocols ask."""

from pathlib import Path

import pytest

from serve_app.http.routes import Routes
from serve_app.model.card import ModelCard
from tests.protocols.v2_requests import MAX_ROWS
from tests.support.in_process import make_routes
from tests.support.tables import Model, mixed_model


@pytest.fixture(scope="module")
def routes(iris: Path) -> Routes:
    return make_routes(iris, max_rows=MAX_ROWS)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return mixed_model()


@pytest.fixture(scope="module")
def mixed_card(mixed: Model, tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return mixed.write(tmp_path_factory.mktemp("mixed-card") / "model").card


@pytest.fixture(scope="module")
def mixed_routes(mixed: Model, tmp_path_factory: pytest.TempPathFactory) -> Routes:
    return make_routes(mixed.write(tmp_path_factory.mktemp("mixed") / "model").directory)
