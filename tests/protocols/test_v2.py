"""V2 over REST: every endpoint, JSON and bytes in both directions, and refusals that say why."""

import json
import struct
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st

from serve_app.http.routes import Routes
from serve_app.model.artifact import CARD_FILE
from serve_app.protocols.raw import write
from serve_app.protocols.tensors import BYTES, Tensor
from tests.model.test_every_task import FEATURES, MODELS, ROWS
from tests.model.test_every_task import INSTANCE as ABCD
from tests.support.in_process import Answer, ask, make_routes, post
from tests.support.iris_requests import ROW
from tests.support.tables import INSTANCE, Model, mixed_model

MODEL = "/v2/models/iris"
INFER = f"{MODEL}/infer"
MAX_ROWS = 10
SETOSA = list(ROW.values())
VIRGINICA = [6.3, 3.3, 6.0, 2.5]
OUT_OF_RANGE = "x-out-of-range-features"


@pytest.fixture(scope="module")
def routes(iris: Path) -> Routes:
    return make_routes(iris, max_rows=MAX_ROWS)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return mixed_model()


@pytest.fixture(scope="module")
def mixed_routes(mixed: Model, tmp_path_factory: pytest.TempPathFactory) -> Routes:
    return make_routes(mixed.write(tmp_path_factory.mktemp("mixed") / "model").directory)


def tensor(rows: Sequence[Sequence[Any]], name: str = "input-0", **more: Any) -> dict[str, Any]:
    """One tensor of FP64 in JSON."""
    data = [value for row in rows for value in row]
    shape = [len(rows), len(rows[0])]
    return {"name": name, "shape": shape, "datatype": "FP64", "data": data, **more}


def columns(rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """One tensor of FP64 for each column of Iris."""
    return [
        {"name": name, "shape": [len(rows), 1], "datatype": "FP64", "data": list(column)}
        for name, column in zip(ROW, zip(*rows, strict=True), strict=True)
    ]


def outputs(answer: Answer) -> dict[str, dict[str, Any]]:
    assert answer.status == 200, answer.body
    return {output["name"]: output for output in answer.json()["outputs"]}


def error(answer: Answer) -> str:
    """The only field of a refusal."""
    assert answer.headers["content-type"] == "application/json"
    ((name, text),) = answer.json().items()
    assert name == "error"
    return str(text)


def binary(
    parts: Sequence[tuple[dict[str, Any], bytes]], **message: Any
) -> tuple[bytes, dict[str, str]]:
    """A body with tensors in bytes, and its headers."""
    inputs = [
        {**each, "parameters": {**each.get("parameters", {}), "binary_data_size": len(raw)}}
        for each, raw in parts
    ]
    head = json.dumps({**message, "inputs": inputs}).encode()
    body = head + b"".join(raw for _, raw in parts)
    return body, {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(head)),
    }


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


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i8", "<u1"])
@pytest.mark.parametrize("space", ["", " ", "   "])
def test_bytes_in_and_out(routes: Routes, dtype: str, space: str) -> None:
    """One tensor at any place of the body; the answer in bytes has a JSON head of its own."""
    datatype = {"<f8": "FP64", "<f4": "FP32", "<i8": "INT64", "<u1": "UINT8"}[dtype]
    rows = np.array([SETOSA, VIRGINICA]).astype(dtype)
    body, headers = binary(
        [({"name": "x", "shape": [2, 4], "datatype": datatype}, rows.tobytes())],
        parameters={"binary_data_output": True},
        id=space,
        outputs=[
            {"name": "predict"},
            {"name": "predict_proba"},
            {"name": "output-0", "parameters": {"binary_data": False}},
        ],
    )
    answer = ask(routes, "POST", INFER, body, headers=headers)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/octet-stream"
    size = int(answer.headers["inference-header-content-length"])
    assert int(answer.headers["content-length"]) == len(answer.body)
    head, rest = json.loads(answer.body[:size]), answer.body[size:]
    labels, probabilities, kserves = head["outputs"]
    expected = outputs(
        post(
            routes,
            {
                "inputs": [tensor(rows.astype(float).tolist())],
                "outputs": [{"name": "predict"}, {"name": "predict_proba"}],
            },
            INFER,
        )
    )
    length = labels["parameters"]["binary_data_size"]
    data = expected["predict"]["data"]
    assert rest[:length] == write(Tensor("predict", BYTES, (2, 1), data))
    assert kserves["data"] == data
    found = np.frombuffer(rest[length:], "<f8")
    assert found.nbytes == probabilities["parameters"]["binary_data_size"]
    assert found.tolist() == expected["predict_proba"]["data"]


@pytest.mark.parametrize("content_type", [None, "application/json", "application/octet-stream"])
def test_a_body_may_say_anything_of_its_type(routes: Routes, content_type: str | None) -> None:
    """The header of the binary extension decides; Triton's client sends no type at all."""
    headers = {} if content_type is None else {"content-type": content_type}
    plain = json.dumps({"inputs": [tensor([SETOSA])]}).encode()
    assert ask(routes, "POST", INFER, plain, headers=headers).status == 200
    raw = np.array(SETOSA).tobytes()
    body, own = binary([({"name": "x", "shape": [1, 4], "datatype": "FP64"}, raw)])
    headers = {**headers, "inference-header-content-length": own["inference-header-content-length"]}
    assert ask(routes, "POST", INFER, body, headers=headers).status == 200
    answer = ask(routes, "POST", INFER, body, headers={"content-type": "text/plain"})
    assert (answer.status, "text/plain" in error(answer)) == (415, True)


def test_columns_in_bytes_beside_columns_in_json(mixed_routes: Routes) -> None:
    """Each tensor is sent in its own way; the bytes come in the order of the inputs."""
    kinds = {"age": ("INT64", "<q"), "income": ("FP64", "<d"), "member": ("BOOL", "<?")}
    parts: list[tuple[dict[str, Any], bytes]] = []
    plain: list[dict[str, Any]] = []
    for name, value in INSTANCE.items():
        entry: dict[str, Any] = {"name": name, "shape": [1], "datatype": "BYTES"}
        if name in kinds:
            datatype, form = kinds[name]
            parts.append(({**entry, "datatype": datatype}, struct.pack(form, value)))
        elif name == "code":
            plain.append({**entry, "datatype": "FP64", "data": [value]})
        elif name == "note":
            plain.append({**entry, "data": [value]})
        else:
            parts.append((entry, write(Tensor(name, BYTES, (1,), [value]))))
    body, headers = binary(parts)
    size = int(headers["inference-header-content-length"])
    message = json.loads(body[:size])
    message["inputs"] = plain + message["inputs"]
    head = json.dumps(message).encode()
    headers["inference-header-content-length"] = str(len(head))
    answer = ask(
        mixed_routes, "POST", "/v2/models/mixed/infer", head + body[size:], headers=headers
    )
    expected = post(mixed_routes, INSTANCE).json()["predicted_class"]
    assert outputs(answer)["predict"]["data"] == [expected]


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
        ("/v2/", "GET", 404, "No such path"),
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


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ([], "body: Input should be a valid dictionary; got 'an array of 0 values'"),
        ({}, "inputs: Field required"),
        ({"inputs": []}, "inputs: List should have at least 1 item"),
        ({"inputs": [5]}, "inputs.0: Input should be a valid dictionary; got 5"),
        (
            {"inputs": [tensor([SETOSA])], "input": 1},
            "input: Extra inputs are not permitted; got 1",
        ),
        ({"inputs": [{"name": "x"}]}, "inputs.0.shape: Field required"),
        (
            {"inputs": [tensor([SETOSA], shape=[-1, 4])]},
            "inputs.0.shape.0: Input should be greater",
        ),
        (
            {"inputs": [tensor([SETOSA], shape=[1.5, 4])]},
            "inputs.0.shape.0: Input should be a valid",
        ),
        ({"inputs": [tensor([SETOSA], shape=["1", 4])]}, "valid integer; got '1'"),
        ({"inputs": [tensor([SETOSA], shape=[True, 4])]}, "valid integer; got True"),
        ({"inputs": [tensor([SETOSA], shape=[2**64, 4])]}, "inputs.0.shape.0: Input should be"),
        ({"inputs": [tensor([SETOSA], shape=[1] * 9)]}, "at most 8 items"),
        (
            {"inputs": [tensor([SETOSA], shape=[2**62, 2**62])]},
            f"inputs[0].shape: at most 40 elements; send fewer rows; got {2**124}",
        ),
        ({"inputs": [tensor([SETOSA], shape=[1, 5])]}, "has 5 elements; got 4"),
        ({"inputs": [tensor([SETOSA], shape=[2, 2])]}, "got ('input-0', [2, 2])"),
        ({"inputs": [tensor([SETOSA], shape=[4])]}, "give one tensor of shape [rows, 4]"),
        (
            {"inputs": [tensor([SETOSA] * 11)]},
            "inputs[0].shape: at most 40 elements; send fewer rows; got 44",
        ),
        (
            {"inputs": [tensor([SETOSA], datatype="FP8")]},
            "inputs.0.datatype: Input should be 'BOOL'",
        ),
        ({"inputs": [tensor([SETOSA], datatype="INT8")]}, "inputs[0].data[0]: INT8 takes integers"),
        ({"inputs": [tensor([SETOSA], datatype="BYTES")]}, "BYTES takes strings; got 5.1"),
        ({"inputs": [tensor([["a"] * 4], datatype="BYTES")]}, "should be a valid number; got 'a'"),
        ({"inputs": [tensor([SETOSA], data=None)]}, "inputs[0]: has neither data nor"),
        (
            {"inputs": [tensor([SETOSA], data=5)]},
            "inputs[0].data: elements go into an array; got 5",
        ),
        (
            {"inputs": [tensor([SETOSA], parameters={"content_type": "base64"})]},
            "content_type: Input",
        ),
        (
            {"inputs": [tensor([SETOSA], parameters={"binary_data_size": 32})]},
            "inputs[0]: has both data and parameters.binary_data_size",
        ),
        (
            {"inputs": [tensor([SETOSA], data=None, parameters={"binary_data_size": 32})]},
            "needs the header Inference-Header-Content-Length; got 32",
        ),
        ({"inputs": columns([SETOSA] * 11)}, "sepal_length.shape: 1 to 10 rows; got 11"),
        ({"inputs": columns([SETOSA])[1:]}, "inputs: the column 'sepal_length' is missing"),
        ({"inputs": [*columns([SETOSA]), columns([SETOSA])[0]]}, "given twice; got 'sepal_length'"),
        ({"inputs": [tensor([[1, None, 1, 1]])]}, "sepal_width[0]: should be given"),
        (
            {"inputs": [tensor([[1, 1e31, 1, 1]])]},
            "sepal_width[0]: should be a number of magnitude",
        ),
        (
            {"inputs": [tensor([SETOSA])], "outputs": [{"name": "x"}]},
            "outputs: the model has predict",
        ),
        ({"inputs": [tensor([SETOSA])], "outputs": [{}]}, "outputs.0.name: Field required"),
        (
            {
                "inputs": [tensor([SETOSA])],
                "outputs": [{"name": "predict", "parameters": {"classification": 3}}],
            },
            "outputs.0.parameters.classification: Input should be 0; got 3",
        ),
        ({"inputs": [tensor([SETOSA])], "id": 5}, "id: Input should be a valid string; got 5"),
        ({"inputs": [tensor([SETOSA])], "parameters": {"x": [1]}}, "parameters.x"),
        ({"inputs": [tensor([SETOSA], parameters={"x": [1]})]}, "inputs.0.parameters.x"),
        ({"inputs": [tensor([SETOSA])], "parameters": {"x": 2**64}}, "parameters.x"),
        (
            {"inputs": [tensor([SETOSA])], "parameters": {"binary_data_output": "yes"}},
            "parameters.binary_data_output: true or false; got 'yes'",
        ),
        (
            {"inputs": [tensor([SETOSA])], "parameters": {"content_type": "hf"}},
            "parameters.content_type: content types are np, pd, str, datetime, pd_json, json; got",
        ),
    ],
)
def test_what_does_not_fit_is_named(routes: Routes, message: Any, said: str) -> None:
    """400 with the field, the problem and the value; nothing is predicted."""
    answer = post(routes, message, INFER)
    assert answer.status == 400
    assert said in error(answer)


@pytest.mark.parametrize("message", ['{"inputs": [%s]}', '{"inputs": [], "outputs": [%s]}'])
def test_many_entries_that_do_not_fit_cost_little(routes: Routes, message: str) -> None:
    """The first is told; nothing is kept for each of the others."""
    body = (message % ",".join(["{}"] * 50_000)).encode()
    tracemalloc.start()
    try:
        answer = ask(routes, "POST", INFER, body)
        # The entries themselves, twice; errors of all of them would be 30 times as much.
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert answer.status == 400
    assert ".0.name: Field required" in error(answer)


def test_a_long_name_is_not_repeated(routes: Routes) -> None:
    """Names are the client's; a refusal has as much of them as can be read."""
    message = {"inputs": [{**tensor([SETOSA], name="n" * 100_000), "shape": [0, 4], "data": []}]}
    answer = post(routes, message, INFER)
    assert answer.status == 400
    assert error(answer).startswith("nnn")
    assert len(answer.body) < 1_000


@pytest.mark.parametrize("head", ["-1", "x", "", "1e2", "9" * 30, "100000", "²", "3"])
def test_a_header_that_lies_is_named(routes: Routes, head: str) -> None:
    """Too long, negative, no number: 400, also where it ends within the JSON."""
    body, headers = binary(
        [({"name": "x", "shape": [1, 4], "datatype": "FP64"}, np.array(SETOSA).tobytes())]
    )
    headers["inference-header-content-length"] = head
    answer = ask(routes, "POST", INFER, body, headers=headers)
    assert answer.status == 400
    assert ("Invalid JSON" if head == "3" else "Inference-Header-Content-Length: ") in error(answer)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: body[:-1], "binary_data_size: beyond the 31 bytes that are left; got 32"),
        (lambda body: body + b"x", "body: 1 bytes follow the last tensor"),
        (
            lambda body: body.replace(b"[1, 4]", b"[1, 5]"),
            "5 elements of FP64 have 40 bytes; got 32",
        ),
        (lambda body: body.replace(b"FP64", b"FP32"), "4 elements of FP32 have 16 bytes; got 32"),
        (lambda body: body.replace(b": 32", b":-32"), "greater than or equal to 0; got -32"),
        (lambda body: body.replace(b": 32", b":1.5"), "should be a valid integer"),
    ],
)
def test_a_tensor_that_lies_is_named(routes: Routes, change: Any, said: str) -> None:
    """Truncated, too long, of another shape or size: 400."""
    body, headers = binary(
        [({"name": "x", "shape": [1, 4], "datatype": "FP64"}, np.array(SETOSA).tobytes())]
    )
    answer = ask(routes, "POST", INFER, change(body), headers=headers)
    assert answer.status == 400
    assert said in error(answer)


@pytest.mark.parametrize(
    "repeat",
    [
        '{"inputs": [], "inputs": %s}',
        '{"id": "a", "inputs": %s, "id": "b"}',
        '{"inputs": %s, "parameters": {"x": "y", "x": 1}}',
    ],
)
def test_a_repeated_key_is_refused(routes: Routes, repeat: str) -> None:
    """JSON parsers keep the last of equal keys; the client may have meant another."""
    body = (repeat % json.dumps([tensor([SETOSA])])).encode()
    answer = ask(routes, "POST", INFER, body)
    assert answer.status == 400
    assert "more than once" in error(answer)


def test_strings_with_quotation_marks_are_no_repeated_keys(mixed_routes: Routes) -> None:
    """In data, names and parameters."""
    inputs = [
        {
            "name": name,
            "shape": [1],
            "datatype": "BYTES" if isinstance(value, str) else "BOOL" if value is True else "FP64",
            "data": ['say "\\"'] if name == "note" else [value],
            "parameters": {"content_type": "np", "x": '"'},
        }
        for name, value in INSTANCE.items()
    ]
    answer = post(mixed_routes, {"inputs": inputs, "id": '"'}, "/v2/models/mixed/infer")
    assert answer.status == 200, answer.body


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)
ALMOST = st.fixed_dictionaries(
    {
        "inputs": st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.sampled_from([*ROW, "x"]),
                    "shape": st.lists(st.integers(0, 4) | st.integers(), max_size=3),
                    "datatype": st.sampled_from(["FP64", "INT8", "BOOL", "BYTES"]),
                },
                optional={
                    "data": st.lists(st.floats() | st.integers() | JSON, max_size=8),
                    "parameters": JSON,
                },
            ),
            max_size=5,
        )
    },
    optional={"id": JSON, "parameters": JSON, "outputs": JSON, "x": JSON},
)


@given(message=JSON | ALMOST, head=st.none() | st.integers(0, 300) | st.text(max_size=4))
def test_no_message_is_too_much(routes: Routes, message: Any, head: Any) -> None:
    """Any JSON, also one that is almost a request, and any length: an answer below 500."""
    headers = {} if head is None else {"inference-header-content-length": str(head)}
    headers = {name: value for name, value in headers.items() if value.isascii()}
    body = json.dumps(message).encode()
    answer = ask(routes, "POST", INFER, body, headers=headers)
    assert answer.status in (200, 400), answer.body
    if answer.status == 400:
        assert error(answer)


@given(
    place=st.integers(0, 400),
    cut=st.integers(0, 9),
    put=st.binary(max_size=9),
    head=st.integers(-3, 3),
)
def test_no_bytes_are_too_much(
    routes: Routes, *, place: int, cut: int, put: bytes, head: int
) -> None:
    """A good body in bytes, changed anywhere, with a header that is right or not quite."""
    body, headers = binary(
        [
            ({"name": name, "shape": [1], "datatype": "FP64"}, struct.pack("<d", value))
            for name, value in ROW.items()
        ]
    )
    size = int(headers["inference-header-content-length"]) + head
    headers["inference-header-content-length"] = str(size)
    answer = ask(routes, "POST", INFER, body[:place] + put + body[place + cut :], headers=headers)
    assert answer.status in (200, 400), answer.body
    if answer.status == 400:
        assert error(answer)


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
