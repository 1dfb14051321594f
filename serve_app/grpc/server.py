"""Adds the service to Serve's gRPC servers; serve_config.yaml names `add_to_server`."""

from typing import Any

import grpc

from serve_app.grpc.rpcs import SERVICE


def add_to_server(servicer: Any, server: Any) -> None:
    """Add the service to ``server``, as a function does that is generated from a proto.

    Requests and answers are bytes: Serve would answer a request that is no message with INTERNAL.
    Serve puts itself in the place of ``servicer``.
    """
    handlers = {
        each.name: grpc.unary_unary_rpc_method_handler(getattr(servicer, each.name))
        for each in SERVICE.methods
    }
    handler = grpc.method_handlers_generic_handler(SERVICE.full_name, handlers)
    server.add_generic_rpc_handlers((handler,))
