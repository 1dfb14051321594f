"""Every path of every protocol is in the OpenAPI document, and answers as it says."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from serve_app.http.routes import Routes
from serve_app.model.card import ModelCard, Sample
from serve_app.model.features import Feature
from serve_app.protocols.columns import TensorSchema
from serve_app.protocols.one_row import OneRow
from serve_app.protocols.schemas import RequestSchema
from serve_app.protocols.v2_messages import Reader
from serve_app.protocols.v2_openapi import request_example, request_schema
from tests.support.in_process import ask, assert_documented, make_routes, post
from tests.support.iris_requests import ROW
from tests.support.openapi import require_valid
from tests.support.tables import categories, mixed_model

JSON = "application/json"


@pytest.fixture(scope="module")
def routes(iris: Path) -> Routes:
    return make_routes(iris, vertex_predict_route="/vertex:p", vertex_health_route="/vertex")


@pytest.fixture(scope="module")
def document(routes: Routes) -> Any:
    return ask(routes, "GET", "/openapi.json").json()


def test_the_document_is_valid(document: Any) -> None:
    """OpenAPI 3.1 with valid schemas, no dangling reference, and no operation's id twice."""
    require_valid(document)
    ids = [each["operationId"] for item in document["paths"].values() for each in item.values()]
    assert len(ids) == len(set(ids))


def test_every_path_is_documented(routes: Routes, document: Any) -> None:
    """With its method; every path of the document is there."""
    for path, item in document["paths"].items():
        for method in item:
            assert ask(routes, method.upper(), path).status != 404, path
    posts = {path for path, item in document["paths"].items() if "post" in item}
    assert posts == {
        each for each in routes.predictions if each not in ("/predict", "/predict/batch")
    }


def test_examples_are_valid_requests(routes: Routes, document: Any) -> None:
    """By their own schema and by the service; the answers are those that are shown."""
    for path, item in document["paths"].items():
        if "post" not in item:
            continue
        content = item["post"]["requestBody"]["content"][JSON]
        Draft202012Validator({**document, **content["schema"]}).validate(content["example"])
        answer = post(routes, content["example"], path)
        assert answer.status == 200, (path, answer.body)
        assert_documented(document, "POST", path, answer)
        shown = item["post"]["responses"]["200"]["content"][JSON]
        if "predictions" in shown.get("example", {}) and "batch" not in path:
            assert answer.json() == shown["example"]


@pytest.mark.parametrize("path", ["/v2/models/iris/infer", "/v1/models/iris:predict", "/vertex:p"])
@pytest.mark.parametrize("content", [{}, [], {"instances": [ROW | {"x": 1}]}, {"inputs": [1]}])
def test_refusals_are_documented(routes: Routes, document: Any, path: str, content: Any) -> None:
    """400 with the form that the document promises."""
    answer = post(routes, content, path)
    assert answer.status == 400
    assert_documented(document, "POST", path, answer)


def test_operations_are_grouped_by_protocol(document: Any) -> None:
    """By tags, which the page shows as headings; paths are of the protocol that has them."""
    assert document["tags"] == [{"name": name} for name in ("native", "v2", "v1", "vertex")]
    operations = {
        path: operation for path, item in document["paths"].items() for operation in item.values()
    }
    tags = {path: operation["tags"] for path, operation in operations.items()}
    assert tags["/predict/"] == tags["/model"] == ["native"]
    assert tags["/v2/models/iris/infer"] == ["v2"]
    assert tags["/v1/models"] == ["v1"]
    assert tags["/vertex:p"] == tags["/vertex"] == ["vertex"]


def test_columns_of_every_kind_have_an_example(tmp_path: Path) -> None:
    """Strings, booleans and datetimes, as tensors for each column."""
    routes = make_routes(mixed_model().write(tmp_path / "model").directory)
    document = ask(routes, "GET", "/openapi.json").json()
    path = "/v2/models/mixed/infer"
    example = document["paths"][path]["post"]["requestBody"]["content"][JSON]["example"]
    assert post(routes, example, path).status == 200


def test_documents_are_as_described(routes: Routes, document: Any) -> None:
    """What a GET answers fits its schema."""
    for path, item in document["paths"].items():
        if "get" in item:
            assert_documented(document, "GET", path, ask(routes, "GET", path))


def test_a_column_of_several_types_is_sent_as_json(card: ModelCard) -> None:
    """Its example is a valid request, by its schema and by the reader of requests."""
    features = (Feature(name="size/~%", kind="category", categories=categories("small", 2)),)
    sample = Sample(instance={"size/~%": 2}, answer=card.sample.answer)
    card = card.model_copy(update={"features": features, "sample": sample})
    schema = RequestSchema(card, max_rows=5)
    tensors = TensorSchema(card, schema, max_rows=5)
    example = request_example(card, tensors.inputs)
    document = {
        "components": {"schemas": {"Instance": schema.json_schemas().instance}},
        **request_schema(card, tensors.inputs, tensors.outputs),
    }
    Draft202012Validator(document).validate(example)
    _, rows = Reader(tensors, OneRow(features, schema)).read(json.dumps(example).encode(), None)
    assert rows.tolist() == [[2]]
