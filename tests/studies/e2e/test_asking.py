"""The client of every protocol, against the protocols themselves, without Ray."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection

from serve_app.grpc.health import Health
from serve_app.grpc.names import HEALTH
from serve_app.grpc.rpcs import SERVICE, Rpcs
from serve_app.grpc.server import add_to_server
from serve_app.http.routes import Routes
from serve_app.inference import MicroBatcher
from serve_app.model.artifact import Artifact
from serve_app.model.loading import load_predictor
from serve_app.protocols.use_case import UseCase
from serve_app.runtime.ports import LOOPBACK, free_port
from serve_app.settings import Settings
from studies.e2e.asking import ask
from tests.support.grpc_service import GrpcServer
from tests.support.in_process import ask as ask_routes
from tests.support.in_process import make_routes
from tests.support.iris_requests import ROW
from tests.support.loopback import LoopbackServer, QuietHandler
from tests.support.tables import INSTANCE, mixed_model

NUMBERS, EVERY_KIND = "numbers", "columns of every kind"
SPOILT = Callable[[str, bytes], bytes]


class HttpFront(LoopbackServer):
    """Answers as `Routes` do, but for what ``spoil`` makes of the body of a path's answer."""

    def __init__(self, routes: Routes, spoil: SPOILT) -> None:
        class Handler(QuietHandler):
            def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
                self.do_POST()

            def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                given = {k.lower(): v for k, v in self.headers.items() if k != "Content-Length"}
                found = ask_routes(routes, self.command, self.path, body, headers=given)
                answer = spoil(self.path, found.body)
                self.send_response(found.status)
                for name, value in {**found.headers, "content-length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

        super().__init__(Handler)


class Deployment:
    """The methods that Serve calls."""

    def __init__(self, rpcs: Rpcs) -> None:
        self._rpcs = rpcs

    def __getattr__(self, method: str) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            reply = await self._rpcs(method, request, None)
            context.set_code(reply.code)
            context.set_details(reply.details)
            return reply.body

        return answer


def grpc_server(model: Path) -> GrpcServer:
    """A server of every method, of health and of reflection."""

    async def start(port: int) -> Any:
        artifact = Artifact.open(model)
        predictor = load_predictor(artifact)
        inference, settings = MicroBatcher(predictor, max_rows=64), Settings(model_dir=model)
        server = grpc.aio.server()
        rpcs = Rpcs(UseCase(artifact.card, predictor.engine, inference, settings))
        add_to_server(Deployment(rpcs), server)
        check = grpc.unary_unary_rpc_method_handler(Health(None).check)
        health = grpc.method_handlers_generic_handler(HEALTH, {"Check": check})
        server.add_generic_rpc_handlers((health,))
        reflection.enable_server_reflection([SERVICE.full_name], server)
        server.add_insecure_port(f"{LOOPBACK}:{port}")
        await server.start()
        return server

    return GrpcServer(start, free_port())


def as_it_is(_path: str, body: bytes) -> bytes:
    return body


@contextmanager
def served(model: Path, spoil: SPOILT = as_it_is) -> Iterator[tuple[str, str]]:
    """Addresses of both servers of a model."""
    with HttpFront(make_routes(model), spoil) as http, grpc_server(model) as calls:
        yield http.url, calls.address


@pytest.mark.parametrize("kind", [NUMBERS, EVERY_KIND])
def test_right_answers_are_found_right(kind: str, iris: Path, tmp_path: Path) -> None:
    """In each call, for a model of numbers and for one with columns of every kind and gaps."""
    model = iris
    rows: list[dict[str, Any]] = [ROW, {**ROW, "petal_length": 6.1}]
    if kind == EVERY_KIND:
        model = tmp_path / "model"
        mixed_model().write(model)
        rows = [INSTANCE, {**INSTANCE, "age": None, "plan": None, "code": 1}]
    with served(model) as (url, address):
        found = ask(url, address, rows)
    assert len(found) == 15
    assert set(found.values()) == {""}


def test_another_answer_than_predict_gives_is_noticed(iris: Path) -> None:
    """By each call that predicts; the others do not depend on it."""
    other = {**ROW, "petal_length": 6.5, "petal_width": 2.2}

    wrong = ask_routes(make_routes(iris), "POST", "/predict/", json.dumps(other).encode()).body

    def spoil(path: str, body: bytes) -> bytes:
        return wrong if path == "/predict/" else body

    with served(iris, spoil) as (url, address):
        found = ask(url, address, [ROW])
    noticed = {call for call, problem in found.items() if problem}
    assert noticed == {"V2 in JSON", "V2 in bytes", "ModelInfer", "ModelInfer, raw"}


def test_v1_is_compared_with_what_v2_predicts(iris: Path) -> None:
    """Both tell the same of a row."""

    def spoil(path: str, body: bytes) -> bytes:
        return body.replace(b"setosa", b"virginica") if path.endswith(":predict") else body

    with served(iris, spoil) as (url, address):
        found = ask(url, address, [ROW])
    assert {call for call, problem in found.items() if problem} == {"V1"}
    assert "virginica" in found["V1"]


def test_a_port_that_nobody_answers_fails_each_call_of_grpc(iris: Path) -> None:
    """With the status that the client saw; HTTP is asked all the same."""
    with served(iris) as (url, _):
        found = ask(url, f"{LOOPBACK}:{free_port()}", [ROW])
    failed = {call: problem for call, problem in found.items() if problem}
    assert len(failed) == 10
    assert all(
        "UNAVAILABLE" in problem or call == "ModelInfer of another model"
        for call, problem in failed.items()
    )
