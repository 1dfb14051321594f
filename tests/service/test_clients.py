"""Real clients against a real service; those of other environments: ``nox -s clients``."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from studies.clients import plain, triton_aio, triton_http
from studies.clients.case import Case
from studies.clients.served import VERTEX_HEALTH_ROUTE, VERTEX_ROUTE, make_case
from tests.support.service import production
from tests.support.tables import mixed_model
from tests.support.waiting import wait_until

NUMBERS, EVERY_KIND = "numbers", "columns of every kind"


@pytest.fixture(scope="module", params=[NUMBERS, EVERY_KIND])
def case(
    request: pytest.FixtureRequest, iris: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    directory = tmp_path_factory.mktemp("clients")
    model = iris
    if request.param == EVERY_KIND:
        model = directory / "model"
        mixed_model().write(model)
    routes = {"AIP_PREDICT_ROUTE": VERTEX_ROUTE, "AIP_HEALTH_ROUTE": VERTEX_HEALTH_ROUTE}
    with production(model, directory, environment=routes) as running:
        wait_until(lambda: "Ctrl-C drains and stops" in running.log())
        yield make_case(model, running.url, running.grpc_address)


@pytest.mark.parametrize("client", [plain, triton_http, triton_aio])
def test_a_client_gets_what_it_expects(client: ModuleType, case: Case) -> None:
    """States, metadata, predictions in every form, and errors in words that the client shows."""
    found = client.ask(case)
    assert found
    assert [each for each in found if not each.passed] == []
