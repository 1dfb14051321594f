"""A message whose frame is kept means what it means when it is read as a whole."""

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.http.routes import Routes
from serve_app.model.card import ModelCard
from serve_app.protocols import v2_frames
from serve_app.protocols.columns import TensorSchema
from serve_app.protocols.one_row import OneRow
from serve_app.protocols.schemas import RequestSchema
from serve_app.protocols.v2_messages import Reader
from tests.protocols.v2_requests import ALMOST, INFER, MAX_ROWS, SETOSA, VIRGINICA, columns, tensor
from tests.support.in_process import Answer, ask
from tests.support.tables import INSTANCE

GOOD = {
    "inputs": [tensor([SETOSA])],
    "parameters": {"note": "n"},
    "outputs": [{"name": "predict_proba"}, {"name": "predict"}],
}
STYLES = [(",", ":"), (", ", ": "), (" ,\n", "\t:  ")]


def answer_of_both(routes: Routes, body: bytes, path: str = INFER) -> Answer:
    """The answer to a body whose frame may be kept, if it is that to the same read as a whole."""
    first, kept = ask(routes, "POST", path, body), ask(routes, "POST", path, body)
    with patch.object(v2_frames, "LONGEST_KEPT", -1):
        whole = ask(routes, "POST", path, body)
    assert first == kept == whole
    assert whole.status in (200, 400)
    return whole


@pytest.fixture
def reader(card: ModelCard) -> Reader:
    schema = RequestSchema(card, max_rows=MAX_ROWS)
    tensors = TensorSchema(card, schema, max_rows=MAX_ROWS)
    return Reader(tensors, OneRow(card.features, schema))


@given(message=ALMOST, style=st.sampled_from(STYLES))
def test_almost_a_message(routes: Routes, message: Any, style: tuple[str, str]) -> None:
    """Whatever its elements and fields are: the same answer, to the letter."""
    answer_of_both(routes, json.dumps(message, separators=style).encode())


@given(
    rows=st.lists(
        st.lists(st.none() | st.floats() | st.integers() | st.booleans(), min_size=4, max_size=4),
        min_size=1,
        max_size=2,
    ),
    form=st.sampled_from(["flat", "nested", "columns"]),
    style=st.sampled_from(STYLES),
)
def test_rows(routes: Routes, rows: list[list[Any]], form: str, style: tuple[str, str]) -> None:
    """Any numbers, in one tensor or by column."""
    inputs = {
        "flat": [tensor(rows)],
        "nested": [{**tensor(rows), "data": rows}],
        "columns": columns(rows),
    }
    body = json.dumps({**GOOD, "inputs": inputs[form]}, separators=style).encode()
    answer_of_both(routes, body)


@given(
    columns=st.lists(
        st.tuples(
            st.sampled_from(["BYTES", "FP64", "FP32", "INT64", "INT8", "BOOL"]),
            st.none() | st.floats() | st.integers() | st.booleans() | st.text(max_size=3),
        )
        | st.none(),
        min_size=len(INSTANCE),
        max_size=len(INSTANCE),
    )
)
def test_columns_of_every_kind(mixed_routes: Routes, columns: list[Any]) -> None:
    """A row of strings, numbers and truth values; any column of another datatype and value."""
    datatypes = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}
    usual = [(datatypes[type(value)], value) for value in INSTANCE.values()]
    inputs = [
        {"name": name, "shape": [1], "datatype": datatype, "data": [value]}
        for name, own, other in zip(INSTANCE, usual, columns, strict=True)
        for datatype, value in [other or own]
    ]
    answer_of_both(mixed_routes, json.dumps({"inputs": inputs}).encode(), "/v2/models/mixed/infer")


@given(texts=st.lists(st.none() | st.text(), min_size=3, max_size=3))
def test_strings(mixed_routes: Routes, texts: list[Any]) -> None:
    """Any strings, with brackets, quotation marks and backslashes."""
    row = {**INSTANCE, **dict(zip(("note", "plan", "region"), texts, strict=True))}
    inputs = [
        {
            "name": name,
            "shape": [1],
            "datatype": "BOOL" if value is True else "FP64" if type(value) is float else "BYTES",
            "data": [value],
        }
        for name, value in {**row, "age": 40.0}.items()
    ]
    body = json.dumps({"inputs": inputs}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    answer_of_both(mixed_routes, body, "/v2/models/mixed/infer")


@given(
    place=st.integers(0, 200),
    cut=st.integers(0, 12),
    put=st.sampled_from(["", '"data":[', "]", '"', "\\", '"x":{"data":[1]},', '"data":[],', "[2]"]),
)
def test_changed_text(routes: Routes, place: int, cut: int, put: str) -> None:
    """A good message with another text anywhere."""
    text = json.dumps(GOOD)
    answer_of_both(routes, (text[:place] + put + text[place + cut :]).encode())


@pytest.mark.parametrize(
    "inputs",
    [
        '[%s, {"name":"a","shape":[0],"datatype":"FP64","d\\u0061ta":[]}]',
        '[%s, {"name":"a","shape":[0],"datatype":"FP64","data" :[]}]',
        '[{"name":"a","shape":[1],"datatype":"FP64","data":{"data":[7]}}, %s]',
        '[{"name":"a","shape":[1],"datatype":"FP64","data":[{"data":[7]}]}, %s]',
        '[{"name":"x\\"data\\":[1]","shape":[1],"datatype":"FP64","data":[7]}, %s]',
        '[{"name":"a","shape":[1],"datatype":"FP64","data":[7],"data":[8]}, %s]',
        '[{"name":"a","shape":[2],"datatype":"BYTES","data":["]","\\"data\\":[1]"]}, %s]',
        '[{"name":"a","shape":[1],"datatype":"FP64","data":[7]},%s],"parameters":{"data":[1]}',
        '[%s],"x":{"data":[1]}',
    ],
)
def test_elements_where_they_are_not_looked_for(routes: Routes, inputs: str) -> None:
    """Keys written otherwise, twice, within another, within strings: as when read as a whole."""
    good = json.dumps(tensor([SETOSA]))
    body = ('{"inputs":' + inputs.replace("%s", good) + "}").encode()
    assert answer_of_both(routes, body).status == 400


@pytest.mark.parametrize(
    "fields",
    [
        b'"id":"a"',
        b'"id":""',
        b'"id": "\xc3\xbc]"',
        b'"id":"a","id":"b"',
        b'"id":"a","parameters":{"id":"b"}',
        b'"id":"","parameters":{"id":"b"}',
        b'"id" :"","parameters":{"id":"b"}',
        b'"id":null,"parameters":{"id":"b"}',
        b'"parameters":{"id":"b"}',
        b'"id":"\\"data\\":[1]"',
        b'"id":"\xff"',
        b'"id":"\n"',
        b'"id":5',
    ],
)
def test_an_id_of_each_request(routes: Routes, fields: bytes) -> None:
    """It is taken out of the frame, and stays what it is; a parameter of this name is none."""
    answer_of_both(
        routes, b'{"inputs":[' + json.dumps(tensor([SETOSA])).encode() + b"]," + fields + b"}"
    )


@pytest.mark.parametrize(
    "text",
    [
        '"data":\f[%s]',
        '"data":\v[%s]',
        '"data":[%s],"id":\f"a"',
        '"data":\u00a0[%s]',
        '"data":[%s,oops]',
        '"data":[%s,01]',
        '"data":[%s,1e400]',
        '"data":[9007199254740993,1' + "0" * 400 + ",3,4]",
        '"data":[9007199254740993,null,3,4]',
        '"data":[' + '{"a":' * 198 + "1" + "}" * 198 + "]",
        '"data":[%s],"parameters":{"data":5}',
    ],
)
@pytest.mark.parametrize("output", ["predict", "unknown"])
def test_text_that_is_almost_an_array(routes: Routes, text: str, output: str) -> None:
    """What is no JSON, no number, or too large; whatever else is wrong."""
    text = text.replace("%s", "5.1,3.5,1.4,0.2")
    text = f'{{"inputs":[{{"name":"x","shape":[1,4],"datatype":"FP64",{text}}}],'
    answer_of_both(routes, f'{text}"outputs":[{{"name":"{output}"}}]}}'.encode())


def test_a_frame_is_kept(reader: Reader) -> None:
    """Of messages that differ in their elements and ids alone, one is validated."""
    (first, setosa), (second, virginica) = (
        reader.read(json.dumps({**GOOD, "inputs": [tensor([row])]}).encode(), None)
        for row in (SETOSA, VIRGINICA)
    )
    assert first is second
    assert (setosa.tolist(), virginica.tolist()) == ([SETOSA], [VIRGINICA])
    third, fourth = (
        reader.read(json.dumps({**GOOD, "id": each}).encode(), None)[0] for each in "ab"
    )
    assert (third.id, fourth.id) == ("a", "b")
    assert third.selection is fourth.selection


def test_columns_in_any_order(reader: Reader) -> None:
    """Each element is its column's."""
    body = json.dumps({"inputs": columns([SETOSA])[::-1]}).encode()
    _, rows = reader.read(body, None)
    assert rows.tolist() == [SETOSA]


def test_few_frames_are_kept(reader: Reader) -> None:
    """Names of tensors are the client's: as many as there are would be kept for good."""
    body = json.dumps(GOOD).encode()
    first, _ = reader.read(body, None)
    for name in range(1_000):
        reader.read(json.dumps({**GOOD, "inputs": [tensor([SETOSA], str(name))]}).encode(), None)
    assert reader.read(body, None)[0] is not first


def test_what_is_read_as_a_whole_takes_no_place(reader: Reader) -> None:
    """Its text differs from request to request, and would put out frames that come again."""
    body = json.dumps(GOOD).encode()
    first, _ = reader.read(body, None)
    for value in range(1_000):
        rows = {**tensor([SETOSA, SETOSA]), "data": [SETOSA, [value, 1, 1, 1]]}
        reader.read(json.dumps({"inputs": [rows]}).encode(), None)
    assert reader.read(body, None)[0] is first
