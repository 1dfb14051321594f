"""Requests to `Routes` without a server, and what its OpenAPI document says about the answers."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from starlette.requests import Request
from starlette.types import Message

from serve_app.http.routes import Routes
from serve_app.inference import MicroBatcher
from serve_app.model.artifact import Artifact
from serve_app.model.card import Engine
from serve_app.model.loading import load_predictor
from serve_app.protocols.use_case import UseCase
from serve_app.settings import Settings
from serve_app.telemetry.plain_spans import SpanSink

JSON_HEADERS = {"content-type": "application/json"}
STALLED = "stalled"
"""A piece of a body that never arrives."""


@dataclass(frozen=True)
class Answer:
    """What a server would send for one request."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    chunks_read: int
    """How many pieces of the request's body were asked for."""

    def json(self) -> Any:
        """The body, parsed strictly: NaN and the like are errors."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        return json.loads(self.body, parse_constant=refuse)

    @property
    def detail(self) -> Any:
        """What an error body says."""
        return self.json()["detail"]


def make_routes(
    directory: Path,
    engine: Engine | None = None,
    *,
    spans: SpanSink | None = None,
    **settings: Any,
) -> Routes:
    """The HTTP interface of the model in ``directory``, as a replica makes it."""
    artifact = Artifact.open(directory)
    predictor = load_predictor(artifact, engine)
    limits = Settings(model_dir=directory, **settings)
    inference = MicroBatcher(predictor, max_rows=limits.max_batch_rows)
    return Routes(UseCase(artifact.card, predictor.engine, inference, limits, spans))


def ask(
    routes: Routes,
    method: str,
    path: str,
    body: bytes | Sequence[bytes | str | None] = b"",
    *,
    headers: Mapping[str, str] = JSON_HEADERS,
    root_path: str = "",
) -> Answer:
    """Send one request.

    Args:
        routes: what answers.
        method: HTTP method.
        path: path as in the URL, with ``root_path``.
        body: bytes, with their length declared, or pieces of undeclared length; None among them
            is a client that goes away, and `STALLED` one that sends no more.
        headers: all request headers but the length.
        root_path: where the application is mounted.
    """
    return asyncio.run(_ask(routes, method, path, body, headers=headers, root_path=root_path))


def post(routes: Routes, content: Any, path: str = "/predict/") -> Answer:
    """Send ``content`` as JSON; NaN and infinity are written as Python does."""
    return ask(routes, "POST", path, json.dumps(content).encode())


def ask_together(routes: Routes, requests: Sequence[tuple[str, bytes]]) -> list[int]:
    """Send requests (path, body) in one turn of the loop; their places as they are answered 200."""
    answered: list[int] = []

    async def one(place: int, path: str, body: bytes) -> None:
        answer = await _ask(routes, "POST", path, body, headers=JSON_HEADERS, root_path="")
        assert answer.status == 200
        answered.append(place)

    async def go() -> None:
        await asyncio.gather(*(one(place, *each) for place, each in enumerate(requests)))

    asyncio.run(go())
    return answered


async def _ask(
    routes: Routes,
    method: str,
    path: str,
    body: bytes | Sequence[bytes | str | None],
    *,
    headers: Mapping[str, str],
    root_path: str,
) -> Answer:
    chunks = [body] if isinstance(body, bytes) else list(body)
    declared = {"content-length": str(len(body))} if isinstance(body, bytes) else {}
    read = 0
    sent: list[Message] = []

    async def receive() -> Message:
        nonlocal read
        chunk, read = chunks[read], read + 1
        if chunk is None:
            return {"type": "http.disconnect"}
        if chunk == STALLED:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": chunk, "more_body": read < len(chunks)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("testserver", 80),
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": root_path,
        "query_string": b"",
        "headers": [
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in {**headers, **declared}.items()
        ],
    }
    response = await routes(Request(scope, receive))
    await response(scope, receive, send)
    start, *rest = sent
    return Answer(
        status=start["status"],
        headers={name.decode(): value.decode() for name, value in start["headers"]},
        body=b"".join(message["body"] for message in rest),
        chunks_read=read,
    )


def assert_documented(document: Mapping[str, Any], method: str, path: str, answer: Answer) -> None:
    """Check that the OpenAPI document promises this answer: its status, headers and body."""
    responses = document["paths"][path][method.lower()]["responses"]
    assert str(answer.status) in responses, f"{answer.status} is not documented: {answer.body!r}"
    documented = responses[str(answer.status)]
    assert answer.headers["content-type"] in documented["content"]
    schema = documented["content"][answer.headers["content-type"]]["schema"]
    Draft202012Validator({**document, **schema}).validate(answer.json())
    own = {name for name in answer.headers if name.startswith("x-")}
    assert own <= set(documented.get("headers", ()))
