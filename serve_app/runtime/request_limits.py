"""What the Serve config says of requests, as variables that HAProxy's config follows."""

import math

from serve_app.runtime.ingress import REQUESTS_PER_REPLICA
from serve_app.serve_config import ServeConfig

SERVER_TIMEOUT = "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S"
SERVER_TIMEOUT_MARGIN = 2
"""Seconds that HAProxy waits longer than ``request_timeout_s``, which Serve answers with 408: only
a replica that cannot answer at all meets HAProxy's limit."""


def request_limits(config: ServeConfig) -> dict[str, str]:
    """Variables for a service of ``config``; what it does not limit has none.

    `SERVER_TIMEOUT` follows from ``request_timeout_s``, and `REQUESTS_PER_REPLICA` from how many
    requests may run and wait at a replica.
    """
    variables = {}
    if (seconds := config.request_timeout_s) is not None:
        variables[SERVER_TIMEOUT] = str(math.ceil(seconds) + SERVER_TIMEOUT_MARGIN)
    if (requests := config.requests_per_replica) is not None:
        variables[REQUESTS_PER_REPLICA] = str(requests)
    return variables
