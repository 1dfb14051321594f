"""The floor answers what it is told to."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message

from bench.floor import BODY_VARIABLE, create_app


def test_a_constant_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its length, so that the connection stays."""
    monkeypatch.setenv(BODY_VARIABLE, '{"a":1}')
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    app: Any = create_app()
    asyncio.run(app({"type": "http"}, receive, send))
    start, body = sent
    assert start["status"] == 200
    assert (b"content-length", b"7") in start["headers"]
    assert body["body"] == b'{"a":1}'
