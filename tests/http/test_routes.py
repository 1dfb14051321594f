"""The HTTP interface: right answers for good requests, clear ones for bad, never a 5xx."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.http.routes import Routes
from serve_app.inference import MicroBatcher
from serve_app.model.artifact import Artifact
from serve_app.model.card import Engine
from serve_app.model.comparison import PROBABILITY_TOLERANCE
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Rows
from serve_app.packaging.package import package_model
from serve_app.protocols.answers import OUT_OF_RANGE_HEADER
from serve_app.protocols.use_case import UseCase
from serve_app.settings import Settings
from tests.support.in_process import (
    Answer,
    ask,
    assert_documented,
    make_routes,
    post,
)
from tests.support.iris_requests import BATCH, BODY, MAX_ROWS, PREDICT, ROW
from tests.support.models import ESTIMATORS, WITHOUT_PROBABILITIES, Packaged, overflowing


def out_of_range(answer: Answer) -> str | None:
    return answer.headers.get(OUT_OF_RANGE_HEADER.decode())


def test_one_row_is_answered_with_class_probabilities_and_version(
    routes: Routes, iris: Path, document: Any
) -> None:
    """The answer has the three fields of the README, as the document promises."""
    answer = post(routes, ROW)
    assert answer.status == 200
    assert_documented(document, "POST", PREDICT, answer)
    content = answer.json()
    assert content["predicted_class"] == "setosa"
    assert list(content["probabilities"]) == ["setosa", "versicolor", "virginica"]
    assert sum(content["probabilities"].values()) == pytest.approx(1)
    assert content["model_version"] == Artifact.open(iris).card.version
    assert out_of_range(answer) is None


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_kind_of_classifier_is_served(packaged: Callable[[str], Packaged], name: str) -> None:
    """Fields, labels and probabilities follow the card, for every kind of model."""
    fitted, artifact = packaged(name).fitted, packaged(name).artifact
    routes = make_routes(artifact.directory)
    document = ask(routes, "GET", "/openapi.json").json()
    rows = fitted.rows[:: len(fitted.rows) // 20]
    names = artifact.card.feature_names
    instances = [dict(zip(names, row, strict=True)) for row in rows.tolist()]
    answer = post(routes, {"instances": instances}, BATCH)
    assert answer.status == 200
    assert_documented(document, "POST", BATCH, answer)
    predictions = answer.json()["predictions"]
    labels = fitted.estimator.predict(rows).tolist()
    assert [prediction["predicted_class"] for prediction in predictions] == labels
    if name in WITHOUT_PROBABILITIES:
        assert {prediction["probabilities"] for prediction in predictions} == {None}
    else:
        found = [list(prediction["probabilities"].values()) for prediction in predictions]
        expected = fitted.estimator.predict_proba(rows)
        assert np.abs(np.array(found) - expected).max() <= PROBABILITY_TOLERANCE
    alone = post(routes, instances[0])
    assert_documented(document, "POST", PREDICT, alone)
    assert alone.json()["predicted_class"] == labels[0]


@pytest.mark.parametrize("root_path", ["", "/models/iris"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/predict/", 200),
        ("POST", "/predict", 200),
        ("POST", "/predict/batch/", 422),
        ("POST", "/predict/batch", 422),
        ("GET", "/", 200),
        ("GET", "", 200),
        ("GET", "/model", 200),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("HEAD", "/", 200),
        ("HEAD", "/model", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/predict//", 404),
        ("GET", "/Predict/", 404),
    ],
)
def test_every_path_answers_wherever_it_is_mounted(
    routes: Routes, root_path: str, method: str, path: str, status: int
) -> None:
    """With and without a slash at the end, never by a redirect, also below a route prefix."""
    answer = ask(routes, method, root_path + path, BODY, root_path=root_path)
    assert answer.status == status
    assert answer.headers["content-length"] == str(len(answer.body))


def test_an_unknown_path_is_told_the_known_ones(routes: Routes) -> None:
    """404 names what was asked for, shortened, and what there is."""
    answer = ask(routes, "GET", "/" + "x" * 5000)
    assert answer.status == 404
    assert "'/xxx" in answer.detail
    assert "/predict/batch/" in answer.detail
    assert len(answer.body) < 500


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        *[(method, PREDICT, "POST") for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")],
        ("GET", BATCH, "POST"),
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/model", "GET, HEAD"),
        ("X" * 1000, "/docs", "GET, HEAD"),
    ],
)
def test_another_method_is_told_the_right_one(
    routes: Routes, method: str, path: str, allowed: str
) -> None:
    """405 carries Allow, as HTTP demands, and says so in words."""
    answer = ask(routes, method, path, BODY)
    assert answer.status == 405
    assert answer.headers["allow"] == allowed
    assert f"{method[:20]} is not allowed here; use {allowed[:3]}" in answer.detail


@pytest.mark.parametrize(
    ("path", "body", "status", "location"),
    [
        (PREDICT, b"", 400, ["body"]),
        (PREDICT, b"{", 400, ["body"]),
        (PREDICT, b'{"sepal_length": "\xff"}', 400, ["body"]),
        (PREDICT, b"[" * 900 + b"]" * 900, 400, ["body"]),
        (PREDICT, BODY.replace(b"5.1", b'"5.1"'), 422, ["body", "sepal_length"]),
        (PREDICT, BODY.replace(b"5.1", b"1e400"), 422, ["body", "sepal_length"]),
        (PREDICT, BODY.replace(b"5.1", b"NaN"), 422, ["body", "sepal_length"]),
        (PREDICT, BODY.replace(b"5.1", b"1" * 400), 422, ["body", "sepal_length"]),
        (PREDICT, BODY.replace(b"{", b'{"sepal_width": 1,'), 422, ["body", "sepal_width"]),
        (PREDICT, BODY.replace(b"{", b'{"x": 1' + b"0" * 25 + b","), 422, ["body", "x"]),
        (BATCH, b'{"instances": []}', 422, ["body", "instances"]),
        (BATCH, b'{"instances": [%s5]}' % (b"5," * MAX_ROWS), 422, ["body", "instances"]),
        (BATCH, b'{"instances": [%s, 5]}' % BODY, 422, ["body", "instances", 1]),
    ],
)
def test_a_body_that_does_not_fit_is_told_where_and_why(
    routes: Routes, document: Any, *, path: str, body: bytes, status: int, location: list[str | int]
) -> None:
    """The body of the error has the form that clients of FastAPI know."""
    answer = ask(routes, "POST", path, body)
    assert answer.status == status
    assert_documented(document, "POST", path, answer)
    (entry,) = answer.detail
    assert entry["loc"] == location
    assert entry["msg"]
    assert {"type", "input"} <= set(entry)


@pytest.mark.parametrize("path", [PREDICT, BATCH])
def test_values_outside_the_training_range_are_answered_and_flagged(
    routes: Routes, document: Any, path: str
) -> None:
    """The header names the features; extrapolating is the client's decision."""
    row = {**ROW, "petal_width": 99, "sepal_width": -1}
    answer = post(routes, row if path == PREDICT else {"instances": [ROW, row]}, path)
    assert answer.status == 200
    assert out_of_range(answer) == "sepal_width,petal_width"
    assert_documented(document, "POST", path, answer)


def test_feature_names_are_encoded_in_the_header(tmp_path: Path) -> None:
    """Names with commas, line breaks of Unicode or umlauts cannot break or forge a header."""
    fitted = ESTIMATORS["random_forest"]()
    names = ("größe, cm", "a\u2028b")
    features = [
        feature.model_copy(update={"name": name})
        for feature, name in zip(fitted.features, names, strict=True)
    ]
    package_model(fitted.estimator, tmp_path / "model", features=features)
    answer = post(make_routes(tmp_path / "model"), dict.fromkeys(names, 1e6))
    assert out_of_range(answer) == "gr%C3%B6%C3%9Fe%2C%20cm,a%E2%80%A8b"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, about the overflow
def test_values_for_which_the_model_overflows_are_the_clients_to_change(tmp_path: Path) -> None:
    """422 names the row; its neighbours in the batch are not to blame."""
    fitted = overflowing()
    package_model(
        fitted.estimator,
        tmp_path / "model",
        features=fitted.features,
        training_data=fitted.rows,
    )
    routes = make_routes(tmp_path / "model")
    good, bad = {"x0": 5, "x1": 3}, {"x0": 1e30, "x1": 1e30}
    alone, batch = post(routes, bad), post(routes, {"instances": [good, bad]}, BATCH)
    document = ask(routes, "GET", "/openapi.json").json()
    for answer, path, location in (
        (alone, PREDICT, ["body"]),
        (batch, BATCH, ["body", "instances", 1]),
    ):
        assert answer.status == 422
        assert_documented(document, "POST", path, answer)
        (entry,) = answer.detail
        assert (entry["type"], entry["loc"]) == ("no_finite_answer", location)
        assert entry["input"] == "[1e+30, 1e+30]"
    assert post(routes, good).status == 200


def test_a_failing_model_is_logged_and_tells_nothing(
    iris: Path, log: pytest.LogCaptureFixture
) -> None:
    """500 is JSON without a word of the cause, which the log has in full."""

    class Failing:
        engine: Engine = "onnx"

        def predict(self, rows: Rows) -> Prediction:
            raise RuntimeError(f"secret of {len(rows)} rows")

    inference = MicroBatcher(Failing(), max_rows=1)
    routes = Routes(UseCase(Artifact.open(iris).card, "onnx", inference, Settings()))
    answer = post(routes, ROW)
    assert answer.status == 500
    assert_documented(ask(routes, "GET", "/openapi.json").json(), "POST", PREDICT, answer)
    assert "secret" not in answer.body.decode()
    assert "RuntimeError: secret of 1 rows" in log.text


def test_the_index_says_where_things_are(routes: Routes, document: Any) -> None:
    """Every path that GET / names exists."""
    answer = ask(routes, "GET", "/")
    assert_documented(document, "GET", "/", answer)
    content = answer.json()
    assert (content["service"], content["predict"]) == ("iris classifier", "POST /predict/")
    assert content["status"] == "alive"  # what KServe's client of V1 wants to read
    for name in ("model", "docs", "openapi"):
        assert ask(routes, "GET", content[name]).status == 200


@pytest.mark.parametrize("engine", ["onnx", "sklearn"])
def test_the_model_endpoint_shows_card_and_engine(iris: Path, engine: Engine) -> None:
    """GET /model is the card, with the engine that runs here, not only the one preferred."""
    content = ask(make_routes(iris, engine), "GET", "/model").json()
    assert content.pop("engine") == engine
    assert content == Artifact.open(iris).card.model_dump(mode="json")


def test_the_documentation_page_finds_the_document_below_a_prefix(routes: Routes) -> None:
    """Swagger's page asks for the document at the path where the service is mounted."""
    page = ask(routes, "GET", "/models/iris/docs", root_path="/models/iris")
    assert page.headers["content-type"].startswith("text/html")
    assert b"/models/iris/openapi.json" in page.body


def test_the_documentation_page_needs_no_other_host(routes: Routes) -> None:
    """Script and style come from the service itself, so that the page works without internet."""
    page = ask(routes, "GET", "/docs", root_path="").body.decode()
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    files = [link for link in links if not link.startswith("data:")]
    assert len(files) == 2
    assert not [link for link in files if "//" in link]
    for file in files:
        answer = ask(routes, "GET", file)
        assert answer.status == 200
        assert len(answer.body) > 100_000
        assert "max-age" in answer.headers["cache-control"]
