"""Whatever is sent to V2 has an answer that is no failure of the service."""

import json
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serve_app.http.routes import Routes
from tests.protocols.v2_requests import ALMOST, INFER, JSON, binary, error
from tests.support.in_process import ask
from tests.support.iris_requests import ROW


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
