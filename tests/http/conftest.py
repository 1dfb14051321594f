"""The HTTP interface of the default model."""

from pathlib import Path
from typing import Any

import pytest

from serve_app.http.routes import Routes
from tests.http.lane import Lane
from tests.support.in_process import ask, make_routes
from tests.support.iris_requests import MAX_BODY_BYTES, MAX_ROWS


@pytest.fixture(scope="module")
def routes(iris: Path) -> Routes:
    """The default model, with small limits."""
    return make_routes(iris, max_body_bytes=MAX_BODY_BYTES, max_rows=MAX_ROWS)


@pytest.fixture(scope="module")
def document(routes: Routes) -> Any:
    """The OpenAPI document as it is served."""
    return ask(routes, "GET", "/openapi.json").json()


@pytest.fixture
def lane(routes: Routes) -> Lane:
    """A replica of the default model, which traces nothing."""
    return Lane(routes)
