"""What the Serve config says of requests, as variables of HAProxy's config and of Ray."""

import math

from serve_app.ray_internals.grpc_server import MESSAGE_VARIABLE
from serve_app.runtime.ingress import REQUESTS_PER_REPLICA
from serve_app.serve_config import ServeConfig

SERVER_TIMEOUT = "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S"
SERVER_TIMEOUT_MARGIN = 2
"""Seconds that HAProxy waits longer than ``request_timeout_s``, which Serve answers with 408: only
a replica that cannot answer at all meets HAProxy's limit."""


def request_limits(config: ServeConfig) -> dict[str, str]:
    """Variables for a service of ``config``; what it does not limit has none.

    `SERVER_TIMEOUT` follows from ``request_timeout_s``, and `REQUESTS_PER_REPLICA` from how many
    requests may run and wait at a replica. `MESSAGE_VARIABLE` is for Serve's fallback proxy, which
    accepts 2 GiB by default.
    """
    variables = {}
    if (seconds := config.request_timeout_s) is not None:
        variables[SERVER_TIMEOUT] = str(math.ceil(seconds) + SERVER_TIMEOUT_MARGIN)
    if (requests := config.requests_per_replica) is not None:
        variables[REQUESTS_PER_REPLICA] = str(requests)
    if config.grpc_port is not None:
        variables[MESSAGE_VARIABLE] = str(config.settings.max_body_bytes)
    return variables
