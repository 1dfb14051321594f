"""Decision 20's tables are true: each request is sent, and each test that is named is there."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from serve_app.http.routes import Routes
from serve_app.model.artifact import Artifact
from tests.support.in_process import ask, make_routes
from tests.support.iris_requests import ROW

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "docs" / "decisions" / "0020-open-inference-protocol.md"
ROUTES = {"AIP_PREDICT_ROUTE": "/vertex:predict", "AIP_HEALTH_ROUTE": "/vertex/health"}
BODIES = {
    "/infer": b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", '
    b'"data": [5.1, 3.5, 1.4, 0.2]}]}',
    ":predict": b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}',
}


class Promise(NamedTuple):
    """A line of a table of requests."""

    method: str
    path: str
    status: int
    fields: tuple[str, ...]


def cells() -> list[list[str]]:
    """Lines of all tables, without their heads."""
    lines = RECORD.read_text(encoding="utf-8").splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in lines
        if line.startswith("| ")
    ]


PROMISES = [
    Promise(found[1], found[2], int(row[1]), tuple(re.findall(r"`(\w+)`", row[2])))
    for row in cells()
    if (found := re.fullmatch(r"`(GET|POST) (\S+)`", row[0].strip("| ")))
]
PROOFS = [
    found.groups()
    for row in cells()
    if (found := re.fullmatch(r"`(test_\w+)\.(test_\w+)`", row[-1].strip(" |")))
]


@pytest.fixture(scope="module")
def routes(iris: Path) -> Routes:
    return make_routes(
        iris,
        vertex_predict_route=ROUTES["AIP_PREDICT_ROUTE"],
        vertex_health_route=ROUTES["AIP_HEALTH_ROUTE"],
    )


@pytest.mark.parametrize("promise", PROMISES, ids=lambda each: f"{each.method} {each.path}")
def test_an_endpoint_answers_as_the_table_says(
    routes: Routes, iris: Path, promise: Promise
) -> None:
    """Its status, and all of its fields."""
    card = Artifact.open(iris).card
    path = ROUTES.get(promise.path, promise.path)
    path = path.replace("NAME", card.name).replace("VERSION", card.version)
    body = next((body for end, body in BODIES.items() if path.endswith(end)), b"")
    answer = ask(routes, promise.method, path, body)
    assert (answer.status, tuple(answer.json())) == (promise.status, promise.fields)


def test_every_path_is_in_the_table(routes: Routes, iris: Path) -> None:
    """What the service speaks, the record speaks of."""
    card = Artifact.open(iris).card
    document = ask(routes, "GET", "/openapi.json").json()
    spoken = {path for path in document["paths"] if not path.startswith(("/predict", "/model"))}
    names = {value: name for name, value in ROUTES.items()}
    recorded = {promise.path for promise in PROMISES}
    for path in spoken - {"/"}:
        assert (
            names.get(path, path.replace(card.version, "VERSION")).replace(f"/{card.name}", "/NAME")
            in recorded
        )
    assert len(PROMISES) > len(spoken)


@pytest.mark.parametrize(("module", "name"), PROOFS)
def test_a_proof_exists(module: str, name: str) -> None:
    """The test that a line names."""
    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_tables_are_read() -> None:
    """None of them is passed over because it is written otherwise."""
    assert len(PROMISES) == 22
    assert len(PROOFS) == 13
    assert set(ROW)  # the bodies above have as many values
