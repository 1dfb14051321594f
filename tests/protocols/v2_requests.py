"""Requests of V2, and what is read from its answers."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tests.support.in_process import Answer
from tests.support.iris_requests import ROW

MODEL = "/v2/models/iris"
INFER = f"{MODEL}/infer"
MAX_ROWS = 10
SETOSA = list(ROW.values())
VIRGINICA = [6.3, 3.3, 6.0, 2.5]
OUT_OF_RANGE = "x-out-of-range-features"

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)
"""Anything that JSON can say."""
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
"""Messages that are valid now and then, with every field that there is."""


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
