"""V1 and Vertex AI: rows as arrays or objects, and what scikit-learn's predict returns."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.http.routes import Routes
from serve_app.model.features import Feature
from serve_app.protocols.protocol import ProtocolError
from tests.model.test_every_task import FEATURES, INSTANCE, MODELS, ROWS
from tests.support.in_process import Answer, ask, make_routes, post
from tests.support.iris_requests import ROW
from tests.support.tables import INSTANCE as MIXED_ROW
from tests.support.tables import Model, mixed_model

V1 = "/v1/models/iris:predict"
VERTEX = "/v1/endpoints/1/deployedModels/2:predict"
HEALTH = "/v1/endpoints/1/deployedModels/2"
SETOSA = list(ROW.values())
VIRGINICA = [6.3, 3.3, 6.0, 2.5]
PATHS = pytest.mark.parametrize("path", [V1, VERTEX])
MAX_ROWS = 10


def make(directory: Path, **settings: Any) -> Routes:
    routes = {"vertex_predict_route": VERTEX, "vertex_health_route": HEALTH}
    return make_routes(directory, **{**routes, **settings})


@pytest.fixture(scope="module")
def routes(iris: Path) -> Routes:
    return make(iris, max_rows=MAX_ROWS)


def error(answer: Answer) -> str:
    ((name, text),) = answer.json().items()
    assert name == "error"
    return str(text)


@PATHS
@pytest.mark.parametrize(
    "instances",
    [
        [SETOSA, VIRGINICA],
        [ROW, dict(zip(ROW, VIRGINICA, strict=True))],
        [dict(reversed(ROW.items())), dict(zip(ROW, VIRGINICA, strict=True))],
    ],
)
def test_rows_are_arrays_or_objects(routes: Routes, path: str, instances: Any) -> None:
    """In the order of the columns, or by name; the answer has a value for each row."""
    answer = post(routes, {"instances": instances}, path)
    assert (answer.status, answer.json()) == (200, {"predictions": ["setosa", "virginica"]})


def test_kserves_other_name_for_rows(routes: Routes) -> None:
    """Its scikit-learn server takes ``inputs`` too; both together are refused."""
    assert post(routes, {"inputs": [SETOSA]}, V1).json() == {"predictions": ["setosa"]}
    answer = post(routes, {"inputs": [SETOSA], "instances": [SETOSA]}, V1)
    assert (answer.status, "instances or inputs: missing" in error(answer)) == (400, True)


def test_the_model_is_named(routes: Routes) -> None:
    """As KServe does: a list of models, and whether the model is ready."""
    assert ask(routes, "GET", "/v1/models").json() == {"models": ["iris"]}
    assert ask(routes, "GET", "/v1/models/iris").json() == {"name": "iris", "ready": True}
    answer = post(routes, {"instances": [SETOSA]}, "/v1/models/other:predict")
    assert answer.status == 404
    assert "known: /v1/models, /v1/models/iris, /v1/models/iris:predict" in error(answer)


def test_vertex_has_the_paths_that_it_names(iris: Path, routes: Routes) -> None:
    """And none where it names none; another output is asked for by a parameter."""
    assert ask(routes, "GET", HEALTH).json() == {"status": "healthy"}
    message: dict[str, Any]
    message = {"instances": [SETOSA], "parameters": {"output": "predict_proba"}}
    native = post(routes, ROW).json()["probabilities"]
    assert post(routes, message, VERTEX).json() == {"predictions": [list(native.values())]}
    nothing: dict[str, Any] | None
    for nothing in (None, {}):
        message = {"instances": [SETOSA], "parameters": nothing}
        assert post(routes, message, VERTEX).status == 200
    bare = make_routes(iris)
    assert ask(bare, "GET", HEALTH).status == 404
    assert post(bare, {"instances": [SETOSA]}, VERTEX).status == 404
    unset = post(bare, {"instances": [SETOSA]}, "/vertex")
    assert (unset.status, "AIP_PREDICT_ROUTE" in error(unset)) == (404, True)
    with pytest.raises(ProtocolError, match="vertex_predict_route='/x' is vertex_health_route"):
        make(iris, vertex_predict_route="/x", vertex_health_route="/x")


def test_vertex_may_take_a_path_of_the_services_own(iris: Path) -> None:
    """Who runs the container says so; refusals on it are in this form."""
    routes = make(iris, vertex_predict_route="/predict", vertex_health_route="/")
    assert post(routes, {"instances": [SETOSA]}, "/predict").json() == {"predictions": ["setosa"]}
    assert error(post(routes, ROW, "/predict"))
    assert post(routes, ROW, "/predict/").json()["predicted_class"] == "setosa"
    assert post(routes, {}, "/predict/").detail
    for path in ("/docs", "/openapi.json", "/model", "/v2/health/live"):
        routes = make(iris, vertex_predict_route=path)
        assert post(routes, {"instances": [SETOSA]}, path).json() == {"predictions": ["setosa"]}


@pytest.mark.parametrize("name", MODELS)
def test_every_task_answers_what_predict_returns(tmp_path: Path, name: str) -> None:
    """Labels, numbers, lists of them: as scikit-learn's own method, in JSON."""
    estimator, target, task = MODELS[name]
    model = Model(estimator.fit(ROWS, target), task, FEATURES, INSTANCE)
    routes = make(model.write(tmp_path / "model").directory)
    answer = post(routes, {"instances": ROWS[::30].tolist()}, "/v1/models/mixed:predict")
    expected = estimator.predict(ROWS[::30])
    np.testing.assert_allclose(answer.json()["predictions"], expected)


def test_arrays_have_one_type_and_objects_have_their_own(tmp_path: Path) -> None:
    """Whole numbers of an array are integers, 0 and 1 booleans, NaN and null missing values."""
    directory = mixed_model().write(tmp_path / "model").directory
    routes = make(directory)
    path = "/v1/models/mixed:predict"
    row = [40.0, float("nan"), 1.0, None, "n", 2.5, "called twice", None]
    instance = {
        **MIXED_ROW,
        "income": None,
        "plan": None,
        "since": None,
    }
    expected = post(routes, instance).json()["predicted_class"]
    assert post(routes, {"instances": [row]}, path).json() == {"predictions": [expected]}
    assert post(routes, {"instances": [instance]}, path).json() == {"predictions": [expected]}
    answer = post(routes, {"instances": [{**instance, "age": 40.0}]}, path)
    assert (answer.status, "instances.0.age" in error(answer)) == (400, True)


def test_flags_are_those_of_predict(routes: Routes) -> None:
    """A value that training has not seen is named in the same header."""
    row = [99.0, *SETOSA[1:]]
    header = "x-out-of-range-features"
    assert post(routes, {"instances": [row]}, V1).headers[header] == "sepal_length"
    assert header not in post(routes, {"instances": [SETOSA]}, V1).headers


@PATHS
@pytest.mark.parametrize(
    ("message", "said"),
    [
        ([SETOSA], 'body: should be an object: {"instances": [...]}; got \'an array of 1 values'),
        (5, "body: should be an object"),
        ({}, "missing"),
        ({"instances": [SETOSA], "x": 1}, "x: unknown; known are instances"),
        ({"instances": 5}, "instances: Input should be a valid list; got 5"),
        ({"instances": []}, "instances: List should have at least 1 item"),
        ({"instances": [SETOSA] * 11}, "instances: 1 to 10 rows; got 11"),
        ({"instances": [ROW] * 11}, "instances: List should have at most 10 items"),
        ({"instances": [SETOSA, SETOSA[1:]]}, "instances[1]: rows are all objects, or all arrays"),
        ({"instances": [SETOSA, ROW]}, "instances[1]: rows are all objects, or all arrays of 4"),
        ({"instances": [5.1]}, "instances[0]: rows are all objects"),
        ({"instances": [[*SETOSA[1:], "x"]]}, "instances.0.petal_width: Input should be a valid"),
        ({"instances": [[None, *SETOSA[1:]]]}, "instances.0.sepal_length: Input should be a valid"),
        ({"instances": [{**ROW, "colour": 1}]}, "instances.0.colour: Extra inputs"),
        ({"instances": [[1e31, *SETOSA[1:]]]}, "instances.0.sepal_length"),
    ],
)
def test_what_does_not_fit_is_named(routes: Routes, path: str, message: Any, said: str) -> None:
    """400 with the field, the problem and the value."""
    answer = post(routes, message, path)
    assert answer.status == 400
    assert said in error(answer)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"x": 1}, "parameters: should be an object with one key"),
        ([1], "parameters: should be an object with one key"),
        ([], "parameters: should be an object with one key"),
        (0, "parameters: should be an object with one key"),
        ({"output": 5}, "parameters.output: should be the name of an output; got 5"),
        ({"output": "x"}, "outputs: the model has predict, predict_proba; got 'x'"),
    ],
)
def test_a_parameter_that_is_none_is_named(routes: Routes, parameters: Any, said: str) -> None:
    """Nothing that a client asks for is passed over in silence."""
    answer = post(routes, {"instances": [SETOSA], "parameters": parameters}, VERTEX)
    assert answer.status == 400
    assert said in error(answer)


@PATHS
def test_a_repeated_key_is_refused(routes: Routes, path: str) -> None:
    """JSON parsers keep the last of equal keys; the client may have meant another."""
    row = json.dumps(ROW).replace("{", '{"sepal_length": 1, ', 1)
    for body in (f'{{"instances": [{row}]}}', '{"instances": [], "instances": [[1, 2, 3, 4]]}'):
        answer = ask(routes, "POST", path, body.encode())
        assert (answer.status, "more than once" in error(answer)) == (400, True)


def test_a_model_of_one_column_takes_bare_values(card: Any, tmp_path: Path) -> None:
    """As KServe gives a list of texts to a pipeline that begins with a vectoriser."""
    estimator, target, task = MODELS["regression"]
    features = (Feature(name="x", minimum=0, maximum=10),)
    model = Model(estimator.fit(ROWS[:, :1], target), task, features, {"x": 1.0})
    routes = make(model.write(tmp_path / "model").directory)
    found = [
        post(routes, {"instances": instances}, "/v1/models/mixed:predict").json()
        for instances in ([1.5, 2.5], [[1.5], [2.5]], [{"x": 1.5}, {"x": 2.5}])
    ]
    assert found[0] == found[1] == found[2]
    assert len(found[0]["predictions"]) == 2


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)
VALUE = st.floats() | JSON
ALMOST = st.fixed_dictionaries(
    {"instances": st.lists(st.lists(VALUE, min_size=4, max_size=4) | JSON, max_size=4)},
    optional={"parameters": JSON},
)


@given(message=JSON | ALMOST, path=st.sampled_from([V1, VERTEX]))
def test_no_message_is_too_much(routes: Routes, message: Any, path: str) -> None:
    """Any JSON, also one that is almost a request, gets an answer below 500."""
    answer = post(routes, message, path)
    assert answer.status in (200, 400), answer.body
    if answer.status == 400:
        assert error(answer)
