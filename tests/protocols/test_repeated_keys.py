"""The strings of a body tell whether a key is repeated."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.protocols.errors import InvalidBodyError
from serve_app.protocols.repeated_keys import has_strings, reject_repeated_keys, strings_in
from tests.protocols.v2_requests import JSON


@given(value=JSON, ascii_only=st.booleans())
def test_strings_are_counted(value: Any, *, ascii_only: bool) -> None:
    """Keys and values, at any depth; escaped quotation marks and backslashes are no ends."""
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert has_strings(body, strings_in(value))
    assert not has_strings(body, strings_in(value) + 1)
    reject_repeated_keys(body, expected=strings_in(value))


@given(key=st.text(), first=JSON, second=JSON)
def test_a_repeated_key_is_found(key: str, first: Any, second: Any) -> None:
    """Whatever its name and its values are."""
    name = json.dumps(key)
    body = f"[{{{name}: {json.dumps(first)}, {name}: {json.dumps(second)}}}]".encode()
    with pytest.raises(InvalidBodyError) as error:
        reject_repeated_keys(body, expected=strings_in(json.loads(body)))
    assert error.value.errors[0]["type"] == "repeated_key"
