"""V2 over REST: its paths, what they say of server and model, and what is not there."""

from pathlib import Path
from urllib.parse import quote

import pytest
import schemathesis

from serve_app.http.routes import Routes
from serve_app.model.artifact import CARD_FILE
from tests.model.test_every_task import FEATURES, MODELS, ROWS
from tests.model.test_every_task import INSTANCE as ABCD
from tests.protocols.v2_requests import INFER, MODEL, error, tensor
from tests.support.in_process import ask, make_routes, post
from tests.support.iris_requests import ROW
from tests.support.tables import Model


def test_the_server_and_the_model_describe_themselves(routes: Routes) -> None:
    """Names, versions, extensions; datatypes and shapes of inputs and outputs."""
    server = ask(routes, "GET", "/v2").json()
    assert (server["name"], server["extensions"]) == ("serve-app", ["binary_tensor_data"])
    model = ask(routes, "GET", MODEL).json()
    version = ask(routes, "GET", "/model").json()["version"]
    assert (model["name"], model["versions"]) == ("iris", [version])
    assert model["platform"] == "onnxruntime_onnx"
    assert [each["name"] for each in model["inputs"]] == list(ROW)
    assert {(each["datatype"], *each["shape"]) for each in model["inputs"]} == {("FP64", -1, 1)}
    assert [(each["name"], each["datatype"], each["shape"]) for each in model["outputs"]] == [
        ("predict", "BYTES", [-1, 1]),
        ("predict_proba", "FP64", [-1, 3]),
    ]
    assert ask(routes, "GET", f"{MODEL}/versions/{version}").json() == model


def test_it_says_that_it_is_live_and_ready(routes: Routes) -> None:
    """The server, the model, and this version of it."""
    version = ask(routes, "GET", MODEL).json()["versions"][0]
    assert ask(routes, "GET", "/v2/health/live").json() == {"live": True}
    assert ask(routes, "GET", "/v2/health/ready").json() == {"live": True, "ready": True}
    for path in (f"{MODEL}/ready", f"{MODEL}/versions/{version}/ready"):
        assert ask(routes, "GET", path).json() == {"name": "iris", "ready": True}


@pytest.mark.parametrize(
    ("path", "method", "status", "said"),
    [
        ("/v2/models/other/infer", "POST", 404, "this service has 'iris'"),
        ("/v2/models/other", "GET", 404, "No such model or version: '/v2/models/other'"),
        ("/v2/models/iris2/infer", "POST", 404, "this service has 'iris'"),
        (f"{MODEL}/versions/1/infer", "POST", 404, "No such model or version"),
        (f"{MODEL}/versions/1", "GET", 404, "No such model or version"),
        (f"{MODEL}/explain", "POST", 404, "No such path"),
        ("/v2/none", "GET", 404, "known: /v2, /v2/health/live"),
        ("/v2/health/", "GET", 404, "No such path"),
        (INFER, "GET", 405, "use POST"),
        ("/v2", "POST", 405, "use GET"),
    ],
)
def test_what_is_not_there_is_said(
    routes: Routes, path: str, method: str, status: int, said: str
) -> None:
    """Unknown models, versions and paths, and other methods, in the protocol's form."""
    answer = ask(routes, method, path)
    assert answer.status == status
    assert said in error(answer)


@pytest.mark.parametrize("name", ["my model", "größe", "a/b", "x:predict", "{x}"])
def test_a_model_of_any_name_is_found(iris: Path, name: str, tmp_path: Path) -> None:
    """Its path is what the server has made of the URL; the OpenAPI document has the URL."""
    estimator, target, task = MODELS["regression"]
    model = Model(estimator.fit(ROWS, target), task, FEATURES, ABCD)
    artifact = model.write(tmp_path / "model")
    card = artifact.card.model_copy(update={"name": name}).versioned()
    (artifact.directory / CARD_FILE).write_text(card.model_dump_json(), encoding="utf-8")
    routes = make_routes(artifact.directory)
    message = {"inputs": [tensor([[1.0, 2.0, 3.0, 4.0]])]}
    assert post(routes, message, f"/v2/models/{name}/infer").status == 200
    assert post(routes, {"instances": [[1, 2, 3, 4]]}, f"/v1/models/{name}:predict").status == 200
    document = ask(routes, "GET", "/openapi.json").json()
    assert f"/v2/models/{quote(name, safe='/:')}/infer" in document["paths"]
    schemathesis.openapi.from_dict(document).validate()


def test_a_body_that_is_too_large_is_refused_in_this_form(iris: Path) -> None:
    """413, before it is read."""
    routes = make_routes(iris, max_body_bytes=100)
    answer = ask(routes, "POST", INFER, b"x" * 101)
    assert (answer.status, answer.chunks_read) == (413, 0)
    assert "larger than 100 bytes" in error(answer)


def test_other_paths_keep_their_form(routes: Routes) -> None:
    """What is native is refused as ever, also where a path only begins like this protocol's."""
    assert "known: " in ask(routes, "GET", "/v22").detail
    assert ask(routes, "POST", "/predict/", b"{").detail[0]["type"] == "json_invalid"
