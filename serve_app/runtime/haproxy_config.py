"""The config that Ray Serve writes for HAProxy, with the limits that a public service needs.

Ray's template has no setting for most of them. So this module edits its text. It looks for the
lines in `serve_app.ray_internals.haproxy.HaproxyTemplate`, and refuses a text that lacks one.

https://docs.haproxy.org/2.8/configuration.html
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from serve_app.protocols.answers import for_any_protocol
from serve_app.ray_internals.haproxy import HEALTH_PATH, HaproxyTemplate
from serve_app.runtime.haproxy_edits import find, lines, replace_once
from serve_app.runtime.haproxy_grpc import edit_grpc, has_grpc

HEAD_SECONDS = 10
"""For the request line and headers, and for as much of the body as one buffer holds. A connection
that has never sent a request is closed after the same time. One that has had a request may idle
for Serve's ``keep_alive_timeout_s``."""
CHECK_SECONDS = 5
"""A replica may take so long to answer a health check. The checks themselves are more frequent
(``inter``): a replica that drains says so at once, and one that is slow is not taken for dead."""
MAX_URL_BYTES = 8 * 1024
MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100
PARSED_HEADERS = 4000
"""HAProxy reads so many, to be able to say that they are too many."""
METHODS = "GET HEAD POST PUT PATCH DELETE OPTIONS"
"""What a replica answers, if only with 405."""
RESERVED_CONNECTIONS = 100
"""For health checks and metrics, which are answered when the service's own port takes no more; a
quarter where there are few."""
GRPC_SHARE = 10
"""One of so many connections is for gRPC, which sends many requests over each."""
GOOGLE_PROXIES = "130.211.0.0/22 35.191.0.0/16"
"""Google's application load balancers connect from here, for any number of clients.
https://cloud.google.com/load-balancing/docs/firewall-rules"""
RETRY_SECONDS = 1
TOO_MANY = 429
UNAVAILABLE = 503
NOT_ALLOWED = 405
MARK = "# Edited by serve-app-haproxy; Ray's own config is beside this file.\n"

ERRORS: Mapping[int, str] = {
    400: "The request is not valid HTTP",
    408: f"The request did not arrive within {HEAD_SECONDS} s",
    500: "The proxy failed",
    502: "The replica closed the connection without an answer",
    UNAVAILABLE: "No replica is ready",
    504: "The replica did not answer in time",
}
"""HAProxy's own answers. Ray makes 500 of 502, 503 and 504; clients and load balancers repeat a
request only if they can tell them apart. HAProxy 2.8 has fixed texts for a request that it cannot
parse and for a head that is too slow (haproxy#3032)."""


@dataclass(frozen=True)
class Limits:
    """What depends on the machine and on its place."""

    connections: int
    """Most connections of the process."""
    per_client: int
    """Most connections from one address; 0 for no limit."""
    operations_host: str
    """Address on which the port of metrics and health checks listens; empty for all."""
    requests_per_replica: int = 0
    """Most requests that HAProxy has with each replica; 0 for no limit."""
    public_host: str = ""
    """Address on which the service itself listens; empty for that of Serve's config."""


def edit(config: str, limits: Limits) -> str:
    """Ray's ``config`` with the limits and answers of this module; one that has them is kept.

    Raises:
        UnexpectedConfigError: Ray's template has changed.
    """
    if config.startswith(MARK):
        return config
    health = lines(_health_rules(config))
    public_host = limits.public_host or r"\1"
    http, grpc = _shares(config, limits)
    edits = (
        (HaproxyTemplate.MAXCONN, f"    maxconn {limits.connections}"),
        (HaproxyTemplate.BUFFER_SIZE, rf"\g<0>\n    tune.http.maxhdr {PARSED_HEADERS}"),
        (HaproxyTemplate.DEFAULTS, r"\g<0>" + lines(_defaults())),
        (HaproxyTemplate.ERROR_FILES, ""),
        (
            HaproxyTemplate.METRICS,
            rf"frontend prometheus\n    bind {limits.operations_host}:\1\n    mode http"
            + lines([f"acl healthcheck path -i {HEALTH_PATH}"])
            + health,
        ),
        (
            HaproxyTemplate.PUBLIC,
            rf"frontend http_frontend\n    bind {public_host}:\2" + lines(_public(limits, http)),
        ),
        (HaproxyTemplate.NO_ROUTE, "backend default_backend" + lines([_no_route(config)])),
        (HaproxyTemplate.STATISTICS, r"listen stats\n  bind 127.0.0.1:\1"),
    )
    for pattern, replacement in edits:
        config = replace_once(pattern, replacement, config)
    config = _with_request_limits(config, limits.requests_per_replica)
    config = edit_grpc(
        config,
        frontend=_connections(limits, grpc),
        public_host=public_host,
        requests_per_replica=limits.requests_per_replica,
        body_seconds=HEAD_SECONDS,
        too_long=_too_long(),
    )
    rules = find(HaproxyTemplate.HEALTH_RULES, config)
    config = config[: rules.start(1)] + health.lstrip("\n") + "\n" + config[rules.end(1) :]
    mode = find(HaproxyTemplate.ADMIN_SOCKET, config)
    return MARK + config[: mode.start(2)] + "600" + config[mode.end(2) :]


def has_routes(config: str) -> bool:
    """Whether HAProxy knows an application: not before Serve's controller has told it."""
    return re.search(HaproxyTemplate.ROUTE, config, re.MULTILINE) is not None


def is_draining(config: str) -> bool:
    """Whether Serve takes this proxy out of service."""
    return HaproxyTemplate.DRAINING in config


def max_connections(config: str) -> int:
    """Most connections that ``config`` allows.

    Raises:
        UnexpectedConfigError: it does not say.
    """
    return int(find(HaproxyTemplate.MAXCONN, config)[1])


def admin_socket_of(config: str) -> str:
    """Path of HAProxy's Runtime API.

    Raises:
        UnexpectedConfigError: there is none.
    """
    return find(HaproxyTemplate.ADMIN_SOCKET, config)[1]


def with_admin_socket(config: str, path: str) -> str:
    """``config`` with another path for its Runtime API."""
    old = find(HaproxyTemplate.ADMIN_SOCKET, config)
    return config[: old.start(1)] + path + config[old.end(1) :]


def without_ports(config: str, name: str) -> str:
    """``config`` for a process that waits and must not take the ports of another one.

    Args:
        config: edited or not.
        name: unique, for Linux's abstract sockets: HAProxy wants an address for each frontend.
    """
    numbers = itertools.count()

    def private(found: re.Match[str]) -> str:
        return f"    bind abns@{name}-{next(numbers)}{found[1]}"

    return re.sub(HaproxyTemplate.LISTENER, private, config, flags=re.MULTILINE)


def _defaults() -> list[str]:
    return [
        f"timeout http-request {HEAD_SECONDS}s",
        f"timeout check {CHECK_SECONDS}s",
        # The body counts as far as it fits into the buffer: a slow client costs no replica.
        "option http-buffer-request",
        # A line for each request, for a log server that few have, costs a system call.
        "option dontlog-normal",
        # Browsers open connections that they may never use.
        "option http-ignore-probes",
        *(f"http-error {_answer(status, detail)}" for status, detail in ERRORS.items()),
    ]


def _shares(config: str, limits: Limits) -> tuple[int, int]:
    """Connections for clients of HTTP and of gRPC, whose clients need few."""
    clients = limits.connections - min(RESERVED_CONNECTIONS, limits.connections // 4)
    grpc = clients // GRPC_SHARE if has_grpc(config) else 0
    return clients - grpc, grpc


def _connections(limits: Limits, number: int) -> list[str]:
    """Rules for who may connect to a frontend."""
    too_many = f"{{ sc0_conn_cur gt {limits.per_client} }} !{{ src {GOOGLE_PROXIES} }}"
    per_client = [
        "stick-table type ipv6 size 100k expire 1m store conn_cur",
        "tcp-request connection track-sc0 src",
        f"tcp-request connection reject if {too_many}",
    ]
    return [f"maxconn {number}", *(per_client if limits.per_client else [])]


def _too_long() -> tuple[tuple[int, str, str], ...]:
    """Status, text and condition of heads that are refused."""
    return (
        (414, f"The URL is longer than {MAX_URL_BYTES} bytes", f"{{ url_len gt {MAX_URL_BYTES} }}"),
        (
            431,
            f"The headers are longer than {MAX_HEAD_BYTES} bytes",
            f"{{ req.hdrs,length gt {MAX_HEAD_BYTES} }}",
        ),
        (
            431,
            f"There are more than {MAX_HEADERS} headers",
            f"{{ req.fhdr_cnt gt {MAX_HEADERS} }}",
        ),
    )


def _public(limits: Limits, number: int) -> list[str]:
    unknown = (NOT_ALLOWED, f"The method is none of {METHODS}", f"!{{ method {METHODS} }}")
    refused = (*_too_long(), unknown)
    return [
        *_connections(limits, number),
        *(f"http-request return {_answer(s, text)} if {when}" for s, text, when in refused),
    ]


def _health_rules(config: str) -> list[str]:
    """Rules that answer a health check with 200 if a replica is up, and else with 503.

    Ray's answer 200 for its fallback proxy, too, which is no replica, and on a head without any
    application.
    """
    ray_rules = find(HaproxyTemplate.HEALTH_RULES, config)[1]
    if re.search(HaproxyTemplate.UNHEALTHY, ray_rules, re.MULTILINE):
        return [line.strip() for line in ray_rules.splitlines() if "http-request" in line]
    success = 'status 200 content-type text/plain string "success"'
    return [
        *(
            f"http-request return {success} if healthcheck {{ srv_is_up({backend}/{replica}) }}"
            for backend, replicas in _replicas(config).items()
            for replica in replicas
        ),
        f"http-request return {_answer(UNAVAILABLE, ERRORS[UNAVAILABLE])} if healthcheck",
    ]


def _replicas(config: str) -> dict[str, list[str]]:
    """Names of the replicas of each backend that has any."""
    backend, found = "", dict[str, list[str]]()
    for line in config.splitlines():
        if match := re.match(HaproxyTemplate.BACKEND, line):
            backend = match[1]
        elif match := re.match(HaproxyTemplate.REPLICA, line):
            found.setdefault(backend, []).append(match[1])
    return found


def _with_request_limits(config: str, per_replica: int) -> str:
    """Refuse what replicas would not answer in time.

    A replica computes on the loop on which it reads. So requests wait for it in sockets, where
    Serve, which limits those that it has begun to read, does not see them.
    """
    if per_replica == 0:
        return config
    for backend, replicas in _replicas(config).items():
        most = per_replica * len(replicas)
        refusal = _answer(TOO_MANY, "Every replica has as many requests as it can answer in time")
        rule = f"    http-request return {refusal} if {{ be_conn gt {most} }}"
        config = config.replace(f"\nbackend {backend}\n", f"\nbackend {backend}\n{rule}\n", 1)
    return config


def _no_route(config: str) -> str:
    if has_routes(config):
        return f"http-request return {_answer(404, 'There is no such path')}"
    # Clients take 404 as permanent, which it is not while the routes are unknown.
    return f"http-request return {_answer(UNAVAILABLE, 'The routes are not known yet')}"


def _answer(status: int, detail: str) -> str:
    header = ""
    if status in (TOO_MANY, UNAVAILABLE):
        header = f" hdr retry-after {RETRY_SECONDS}"
    elif status == NOT_ALLOWED:
        header = f""" hdr allow "{", ".join(METHODS.split())}\""""
    body = f"'{for_any_protocol(detail).decode()}'"
    return f"status {status} content-type application/json string {body}{header}"
