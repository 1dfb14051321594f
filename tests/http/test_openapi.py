"""The OpenAPI document is valid, complete, and follows the card."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from jsonschema import Draft202012Validator

from serve_app.http.openapi import openapi_document
from serve_app.http.routes import Routes
from serve_app.model.artifact import Artifact
from serve_app.protocols.native_openapi import description
from serve_app.protocols.schemas import RequestSchema
from serve_app.settings import Settings
from tests.support.in_process import post
from tests.support.models import ESTIMATORS, Packaged
from tests.support.openapi import require_valid

POSTS = ("/predict/", "/predict/batch/")


def document_of(artifact: Artifact, **settings: Any) -> Any:
    limits = Settings(**settings)
    schemas = RequestSchema(artifact.card, max_rows=limits.max_rows).json_schemas()
    described = description(artifact.card, schemas, limits)
    return openapi_document(artifact.card, {"native": described})


@pytest.fixture(scope="module")
def document(iris: Path) -> Any:
    return document_of(Artifact.open(iris), max_rows=7, max_body_bytes=1234)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_document_is_valid_openapi(packaged: Callable[[str], Packaged], name: str) -> None:
    """For every kind of model: OpenAPI 3.1, with valid JSON schemas and no dangling reference."""
    document = document_of(packaged(name).artifact)
    require_valid(document)


def test_an_invalid_document_would_be_noticed(document: Any) -> None:
    """The check of validity that the tests rely on does check."""
    with pytest.raises(Exception, match="responses"):
        schemathesis.openapi.from_dict(
            {**document, "paths": {"/x": {"get": {"responses": "none"}}}}
        ).validate()


@pytest.mark.parametrize("path", POSTS)
def test_every_answer_is_documented(document: Any, path: str) -> None:
    """All statuses that the routes, Serve and its ingress give, each with a description."""
    responses = document["paths"][path]["post"]["responses"]
    expected = {"200", "400", "405", "408", "413", "415", "422", "429", "500", "503"}
    assert set(responses) == expected
    assert all(response["description"] for response in responses.values())
    assert "retry-after" in responses["429"]["headers"]


@pytest.mark.parametrize("path", POSTS)
def test_the_examples_are_valid_requests(iris: Path, document: Any, path: str) -> None:
    """What the documentation offers to try out works: by its own schema and by the service."""
    content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    Draft202012Validator({**document, **content["schema"]}).validate(content["example"])
    batch = path.endswith("batch/")
    instance = content["example"]["instances"][0] if batch else content["example"]
    assert instance == Artifact.open(iris).card.sample.instance


@pytest.mark.parametrize("path", POSTS)
def test_the_example_of_an_answer_is_the_models_own(
    routes: Routes, document: Any, path: str
) -> None:
    """Exactly what the service answers to the example of a request; no made-up numbers."""
    operation = document["paths"][path]["post"]
    asked = operation["requestBody"]["content"]["application/json"]["example"]
    shown = operation["responses"]["200"]["content"]["application/json"]
    Draft202012Validator({**document, **shown["schema"]}).validate(shown["example"])
    expected = shown["example"]
    found = post(routes, asked, path).json()
    assert found["model_version"] == expected["model_version"]
    one, other = (each["predictions"][0] if "batch" in path else each for each in (found, expected))
    assert one["predicted_class"] == other["predicted_class"]
    assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_limits_are_those_of_the_settings(document: Any) -> None:
    """Row and size limits are written in words and in the schema."""
    schemas = document["components"]["schemas"]
    assert schemas["Batch"]["properties"]["instances"]["maxItems"] == 7
    assert "up to 7 rows" in document["paths"]["/predict/batch/"]["post"]["summary"]
    assert "1234" in document["paths"]["/predict/"]["post"]["responses"]["413"]["description"]


def test_the_answer_names_the_cards_classes(packaged: Callable[[str], Packaged]) -> None:
    """Classes are an enumeration of the labels' own type; probabilities may be null."""
    for name, labels, kind in (
        ("logistic_regression", [0, 1], "object"),
        ("random_forest", ["setosa", "versicolor", "virginica"], "object"),
        ("linear_svc", ["benign", "malignant"], "null"),
    ):
        properties = document_of(packaged(name).artifact)["components"]["schemas"]["Prediction"][
            "properties"
        ]
        assert properties["predicted_class"]["enum"] == labels
        assert properties["probabilities"]["type"] == kind
