"""The page on protocols: its commands work as typed, and its answers are the service's."""

import json
from pathlib import Path
from typing import Any

import pytest

from serve_app.http.routes import Routes
from tests.support.curl import Curl
from tests.support.in_process import Answer, ask, make_routes
from tests.support.readme import Block, blocks

PAGE = Path(__file__).parents[2] / "docs" / "protocols.md"
BLOCKS = blocks(PAGE)
CURLS = [each for each in BLOCKS if each.code.startswith("curl ")]


@pytest.fixture(scope="module")
def routes(iris: Path) -> Routes:
    return make_routes(iris, vertex_predict_route="/vertex", vertex_health_route="/health")


def sent(routes: Routes, block: Block) -> Answer:
    path, headers, body = Curl.of(block.code)
    return ask(routes, "POST", path, body, headers=headers)


@pytest.mark.parametrize("block", CURLS, ids=lambda each: Curl.of(each.code).path)
def test_a_command_works(routes: Routes, block: Block) -> None:
    """As it is typed; the next block shows what it is answered, if that is JSON."""
    answer = sent(routes, block)
    assert answer.status == 200, answer.body
    following = BLOCKS[BLOCKS.index(block) + 1 : BLOCKS.index(block) + 2]
    for shown in following:
        if shown.language == "json":
            expected: Any = json.loads(shown.code)
            found = answer.json()
            if "model_version" in expected:
                expected["model_version"] = found["model_version"]
            assert found == expected


def test_every_protocol_has_a_command() -> None:
    """V2 in three forms, V1, Vertex AI."""
    paths = [Curl.of(each.code).path for each in CURLS]
    assert paths == [*["/v2/models/iris/infer"] * 3, "/v1/models/iris:predict", "/vertex"]


def test_the_routes_of_vertex_are_those_of_the_upload() -> None:
    """The command that uploads the image names the paths that the others ask."""
    (upload,) = [each.code for each in BLOCKS if each.code.startswith("gcloud ")]
    assert "--container-predict-route=/vertex" in upload
    assert "--container-health-route=/health" in upload
