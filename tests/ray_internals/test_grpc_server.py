"""Serve's way of a call, against the installed Ray's own replica."""

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from ray.serve._private.grpc_util import gRPCGenericServer
from ray.serve._private.http_util import _apply_middlewares
from ray.serve._private.proxy import gRPCProxy
from ray.serve._private.replica import Replica
from ray.serve.config import gRPCOptions
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from serve_app.http.refusals import LetRefusalsArrive
from serve_app.ray_internals.direct_ingress import servable_behind
from serve_app.ray_internals.grpc_server import answer_here, proxys_way, serves_way_behind
from tests.ray_internals.installed import source

METHOD = "/package.Service/Method"


@pytest.fixture
def replica() -> Any:
    """A replica of Serve's, as far as a call needs it."""
    made: Any = Replica.__new__(Replica)
    made._grpc_options = gRPCOptions(port=9000, grpc_servicer_functions=["a:b"])
    return made


def test_it_is_found_behind_the_middlewares(replica: Any) -> None:
    """It answers a message and a context as the replica's gRPC server would have it answer them."""

    async def answer(*call: object) -> Any:
        return call

    replica._direct_ingress_unary_unary = answer
    app = _apply_middlewares(replica._direct_ingress_asgi, [Middleware(LetRefusalsArrive)])
    way = serves_way_behind(app, METHOD)
    assert way is not None
    context = object()
    assert asyncio.run(way(b"message", context)) == (METHOD, b"message", context)


def test_there_is_none_without_grpc(replica: Any) -> None:
    """Neither in a proxy nor where no functions are configured."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    assert serves_way_behind(proxy, METHOD) is None
    for options in (gRPCOptions(port=9000), None):
        replica._grpc_options = options
        assert serves_way_behind(replica._direct_ingress_asgi, METHOD) is None


def test_the_servable_is_found(replica: Any) -> None:
    """In a replica; a proxy has none."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    replica._user_callable_wrapper = SimpleNamespace(user_callable="the classifier")
    assert servable_behind(replica._direct_ingress_asgi) == "the classifier"
    assert servable_behind(proxy) is None


def test_a_proxy_is_told_from_a_replica(replica: Any) -> None:
    """By what its server hands calls to: only a proxy has another way than its own."""
    proxy: Any = gRPCProxy.__new__(gRPCProxy)
    proxy.proxy_router = object()
    of_proxy = SimpleNamespace(service_handler_factory=proxy.service_handler_factory)
    of_replica = SimpleNamespace(
        service_handler_factory=replica._direct_ingress_service_handler_factory
    )
    assert proxys_way(of_replica, METHOD) is None
    way = proxys_way(of_proxy, METHOD)
    assert way is not None
    assert asyncio.iscoroutinefunction(way)


def test_a_service_is_answered_where_it_arrives() -> None:
    """Its handlers stay what they are; those of others are Serve's."""

    async def own(_request: bytes, _context: object) -> bytes:
        return b""

    def factory(service_method: str, streaming_type: object) -> str:
        return f"Serve's {service_method}"

    async def handlers() -> list[Any]:
        server = gRPCGenericServer(factory)
        answer_here(server, "a.Own")
        added = []
        for service in ("a.Own", "a.Other"):
            handler = grpc.unary_unary_rpc_method_handler(own)
            added.append(grpc.method_handlers_generic_handler(service, {"Call": handler}))
            server.add_generic_rpc_handlers((added[-1],))
        calls = [SimpleNamespace(method=f"/{name}/Call") for name in ("a.Own", "a.Other")]
        return [each.service(call).unary_unary for each, call in zip(added, calls, strict=True)]

    assert asyncio.run(handlers()) == [own, "Serve's /a.Other/Call"]


def test_ray_asks_the_same_factory() -> None:
    """With the same names, before its HTTP server starts."""
    text = source("serve/_private/replica.py")
    for line in (
        "self._direct_ingress_service_handler_factory,",
        "self, service_method: str, streaming_type: gRPCStreamingType",
        "grpc_enabled = self._ingress and is_grpc_enabled(self._grpc_options)",
    ):
        assert line in text
