"""What is wrong with a request of V2 is named, and costs little."""

import json
import tracemalloc
from typing import Any

import pytest

from serve_app.http.routes import Routes
from tests.protocols.v2_requests import INFER, SETOSA, columns, error, tensor
from tests.support.in_process import ask, post
from tests.support.tables import INSTANCE


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
            {
                "inputs": [
                    tensor([SETOSA], data=None, parameters={"shared_memory_region": "region"})
                ]
            },
            "inputs[0]: is in shared memory, which this service does not read",
        ),
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
        ({"inputs": [tensor([SETOSA])], "parameters": {"x": [1]}}, "parameters: x should be a"),
        (
            {"inputs": [tensor([SETOSA], parameters={"x": [1]})]},
            "inputs.0.parameters: x should be a string",
        ),
        ({"inputs": [tensor([SETOSA])], "parameters": {"x": 2**64}}, f"or false; it is {2**64}"),
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


MANY_ENTRIES = ",".join(["{}"] * 50_000)
LONG_PARAMETER = '"a":[' + ",".join(['{"":1}'] * 50_000) + "]"
MANY_PARAMETERS = ",".join(f'"{place}":[]' for place in range(50_000))


@pytest.mark.parametrize(
    ("message", "many", "said"),
    [
        ('{"inputs": [%s]}', MANY_ENTRIES, ".0.name: Field required"),
        ('{"inputs": [], "outputs": [%s]}', MANY_ENTRIES, ".0.name: Field required"),
        ('{"inputs": [], "parameters": {%s}}', MANY_PARAMETERS, "parameters: 0 should be a string"),
        ('{"inputs": [], "parameters": {%s}}', LONG_PARAMETER, "it is an array of 50000 values"),
        (
            '{"inputs": [{"name": "x", "shape": [0], "datatype": "FP64", "parameters": {%s}}]}',
            MANY_PARAMETERS,
            "inputs.0.parameters: 0 should be a string, a number of 64 bits",
        ),
    ],
)
def test_many_things_that_do_not_fit_cost_little(
    routes: Routes, message: str, many: str, said: str
) -> None:
    """The first is told; nothing is kept for each of the others."""
    body = (message % many).encode()
    tracemalloc.start()
    try:
        answer = ask(routes, "POST", INFER, body)
        # The message itself, twice; errors of all of it would be several times as much.
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert answer.status == 400
    assert said in error(answer)


def test_a_long_name_is_not_repeated(routes: Routes) -> None:
    """Names are the client's; a refusal has as much of them as can be read."""
    message = {"inputs": [{**tensor([SETOSA], name="n" * 100_000), "shape": [0, 4], "data": []}]}
    answer = post(routes, message, INFER)
    assert answer.status == 400
    assert error(answer).startswith("nnn")
    assert len(answer.body) < 1_000


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
