"""Adds the service to Serve's gRPC servers; serve_config.yaml names `add_to_server`."""

from typing import Any

import grpc

from serve_app.grpc.direct import DirectRpc
from serve_app.grpc.rpcs import SERVICE
from serve_app.ray_internals.grpc_server import add_own_service, books_behind, serves_way
from serve_app.tracing.relay import relay_of_process
from serve_app.tracing.requests import RequestSpans
from serve_app.tracing.sampling import Sampling


def add_to_server(servicer: Any, server: Any) -> None:
    """Add the service to ``server``, as a function does that is generated from a proto.

    Requests and answers are bytes: Serve would answer a request that is no message with INTERNAL.
    In a replica with a direct path, calls are answered there; everywhere else ``servicer`` does,
    in whose place Serve puts itself.
    """
    if not _add_direct_path(server):
        methods = {each.name: getattr(servicer, each.name) for each in SERVICE.methods}
        server.add_generic_rpc_handlers((_handler(methods),))


def _add_direct_path(server: Any) -> bool:
    books = books_behind(server)
    rpcs = getattr(books and books.servable, "direct_rpcs", None)
    if books is None or rpcs is None:
        return False
    sampling, relay = Sampling.of_process(), relay_of_process()
    methods = {}
    for each in SERVICE.methods:
        spans = None if relay is None else RequestSpans(books.span_of(each.name), relay.put)
        path = f"/{SERVICE.full_name}/{each.name}"
        serve = serves_way(server, path)
        rpc = DirectRpc(path, serve, books, rpcs, sampling=sampling, spans=spans)
        methods[each.name] = rpc.answer
    add_own_service(server, SERVICE.full_name, _handler(methods))
    return True


def _handler(methods: dict[str, Any]) -> grpc.GenericRpcHandler:
    handlers = {name: grpc.unary_unary_rpc_method_handler(each) for name, each in methods.items()}
    return grpc.method_handlers_generic_handler(SERVICE.full_name, handlers)
