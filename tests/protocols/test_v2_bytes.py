"""V2 with tensors in bytes, in both directions, and bytes that lie."""

import json
import struct
from typing import Any

import numpy as np
import pytest

from serve_app.http.routes import Routes
from serve_app.protocols.raw import write
from serve_app.protocols.tensors import BYTES, Tensor
from tests.protocols.v2_requests import INFER, SETOSA, VIRGINICA, binary, error, outputs, tensor
from tests.support.in_process import ask, post
from tests.support.tables import INSTANCE


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


def test_a_header_that_is_repeated_is_refused(routes: Routes) -> None:
    """Which of two lengths is meant is not guessed."""
    rows = ({"name": "x", "shape": [1, 4], "datatype": "FP64"}, np.array(SETOSA).tobytes())
    body, headers = binary([rows])
    repeated = {**headers, "Inference-Header-Content-Length": "5"}
    answer = ask(routes, "POST", INFER, body, headers=repeated)
    assert answer.status == 400
    said = "Inference-Header-Content-Length: a length from 0 to that of the body"
    assert error(answer).startswith(said)
    assert f"got '{headers['inference-header-content-length']}, 5'" in error(answer)


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
