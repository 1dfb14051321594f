"""V2 in JSON: every form of a request, and what is answered."""

from typing import Any

import pytest

from serve_app.http.routes import Routes
from tests.protocols.v2_requests import (
    INFER,
    MODEL,
    OUT_OF_RANGE,
    SETOSA,
    VIRGINICA,
    columns,
    outputs,
    tensor,
)
from tests.support.in_process import ask, post
from tests.support.iris_requests import ROW
from tests.support.tables import INSTANCE, Model


@pytest.mark.parametrize(
    "inputs",
    [
        [tensor([SETOSA, VIRGINICA])],
        [{**tensor([SETOSA, VIRGINICA]), "data": [SETOSA, VIRGINICA]}],
        [tensor([SETOSA, VIRGINICA], name="x", parameters={"content_type": "np"})],
        columns([SETOSA, VIRGINICA]),
        columns([SETOSA, VIRGINICA])[::-1],
        [{**each, "shape": [2]} for each in columns([SETOSA, VIRGINICA])],
    ],
)
def test_every_form_of_rows_is_answered(routes: Routes, inputs: Any) -> None:
    """One tensor, flat or nested, or a tensor for each column in any order."""
    answer = post(routes, {"inputs": inputs, "parameters": {"content_type": "pd"}}, INFER)
    assert answer.status == 200
    version = ask(routes, "GET", "/model").json()["version"]
    assert answer.json() == {
        "model_name": "iris",
        "model_version": version,
        "outputs": [
            {
                "name": "predict",
                "shape": [2, 1],
                "datatype": "BYTES",
                "parameters": {"content_type": "str"},
                "data": ["setosa", "virginica"],
            }
        ],
    }
    assert post(routes, {"inputs": inputs}, f"{MODEL}/versions/{version}/infer").status == 200


def test_the_answers_are_those_of_predict(routes: Routes) -> None:
    """Labels, probabilities and flags are the same numbers, whatever the protocol."""
    rows = [SETOSA, [99.0, 3.3, 6.0, 2.5]]
    instances = [dict(zip(ROW, row, strict=True)) for row in rows]
    native = post(routes, {"instances": instances}, "/predict/batch/")
    asked = [{"name": "predict_proba"}, {"name": "predict"}]
    answer = post(routes, {"inputs": [tensor(rows)], "outputs": asked}, INFER)
    found = outputs(answer)
    assert list(found) == ["predict_proba", "predict"]
    predictions = native.json()["predictions"]
    assert found["predict"]["data"] == [each["predicted_class"] for each in predictions]
    probabilities = [value for each in predictions for value in each["probabilities"].values()]
    assert found["predict_proba"]["data"] == probabilities
    assert found["predict_proba"]["shape"] == [2, 3]
    assert answer.headers[OUT_OF_RANGE] == native.headers[OUT_OF_RANGE] == "sepal_length"


@pytest.mark.parametrize("request_id", ["42", "", 'ü "quoted" \\'])
def test_id_and_parameters_are_repeated(routes: Routes, request_id: str) -> None:
    """Not those that say how the request was written."""
    sent = {"content_type": "np", "priority": 3, "sequence_start": True, "note": "x", "none": None}
    message = {"id": request_id, "parameters": sent, "inputs": [tensor([SETOSA])]}
    answer = post(routes, message, INFER).json()
    assert answer["id"] == request_id
    assert answer["parameters"] == {"priority": 3, "sequence_start": True, "note": "x"}
    empty: dict[str, Any] = {"id": None, "parameters": None, "outputs": None}
    answer = post(routes, {**empty, "inputs": [tensor([SETOSA])]}, INFER).json()
    assert not {"id", "parameters"} & set(answer)


def test_kserves_name_of_the_output(routes: Routes) -> None:
    """Clients of KServe ask for output-0, and name the model in the body too."""
    message = {
        "id": "1",
        "model_name": "iris",
        "inputs": [tensor([SETOSA])],
        "outputs": [{"name": "output-0"}],
    }
    assert outputs(post(routes, message, INFER))["output-0"]["data"] == ["setosa"]


def test_columns_of_every_kind_and_missing_values(mixed: Model, mixed_routes: Routes) -> None:
    """Strings, numbers, booleans, datetimes; null is missing, and so is a column left out."""
    datatypes = {
        "age": "INT64",
        "income": "FP64",
        "member": "BOOL",
        "code": "FP32",
    }
    second = {**INSTANCE, "age": None, "plan": None, "income": None}
    inputs = [
        {
            "name": name,
            "shape": [2, 1],
            "datatype": datatypes.get(name, "BYTES"),
            "data": [INSTANCE[name], second[name]],
        }
        for name in INSTANCE
        if name != "since"
    ]
    expected = post(
        mixed_routes,
        {"instances": [{**each, "since": None} for each in (INSTANCE, second)]},
        "/predict/batch/",
    ).json()["predictions"]
    answer = post(mixed_routes, {"inputs": inputs}, "/v2/models/mixed/infer")
    found = outputs(answer)["predict"]
    assert found["datatype"] == "BOOL"
    assert found["data"] == [each["predicted_class"] for each in expected]


def test_nan_is_a_missing_value(mixed: Model, mixed_routes: Routes) -> None:
    """Also where a client writes it into JSON as Python does."""
    inputs = [
        {
            "name": name,
            "shape": [1],
            "datatype": "BYTES" if isinstance(value, str) else "FP64",
            "data": [float("nan") if name in ("age", "income") else value],
        }
        for name, value in {**INSTANCE, "member": 1}.items()
    ]
    expected = post(mixed_routes, {**INSTANCE, "age": None, "income": None}).json()
    answer = post(mixed_routes, {"inputs": inputs}, "/v2/models/mixed/infer")
    assert outputs(answer)["predict"]["data"] == [expected["predicted_class"]]
