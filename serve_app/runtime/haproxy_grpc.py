"""The gRPC part of HAProxy's config: the limits of `serve_app.runtime.haproxy_config`, in gRPC.

A gRPC client reads the status of its call from ``grpc-status``. Of an answer without one it makes
INTERNAL, UNKNOWN or UNAVAILABLE, by the status of HTTP.
https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from serve_app.grpc.names import HEALTH, MODEL_INFER
from serve_app.ray_internals.haproxy import HaproxyTemplate
from serve_app.runtime.haproxy_edits import UnexpectedConfigError, lines, replace_once

INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = 3, 4, 8
UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 12, 13, 14
"""Numbers of gRPC's status codes."""
NO_METHOD = "!METH_POST or !{ path -m reg ^/[A-Za-z0-9._]+/[A-Za-z0-9_]+$ }"
"""No path of a call. One that is not UTF-8 would end grpcio's server, and no one would notice."""
MALFORMED = (
    (
        INVALID_ARGUMENT,
        "grpc-timeout is digits and one of H M S m u n",
        (
            "{ req.hdr(grpc-timeout) -m found } "
            "!{ req.hdr(grpc-timeout) -m reg '^ *[0-9]+ *[HMSmun] *$' }"
        ),
    ),
    (
        UNIMPLEMENTED,
        "Messages are not compressed here; grpc-encoding is identity",
        "{ req.hdr(grpc-encoding) -m found } !{ req.hdr(grpc-encoding) -m str identity }",
    ),
    (
        INVALID_ARGUMENT,
        "Metadata has names of a-z 0-9 _ . - and values of printable ASCII",
        r"{ req.hdrs -m reg '(?m)^(?!\r|[a-z0-9_.-]++: ?[\t -~]*+\r)' }",
    ),
    (
        INVALID_ARGUMENT,
        "Metadata whose name ends with -bin is base64",
        r"{ req.hdrs -m reg '(?m)^[^:\r\n]*-bin: ?+(?![A-Za-z0-9+/]*+={0,2}\r)' }",
    ),
)
"""gRPC status, text and condition of heads that grpcio's server would answer with INTERNAL, with a
line in the log for each. Only single characters are repeated: PCRE takes stack for each repetition
of a group."""
MODEL_INFER_BACKEND = "model-infer"
ERRORS: Mapping[int, tuple[int, str]] = {
    400: (INVALID_ARGUMENT, "The request is not valid HTTP"),
    408: (DEADLINE_EXCEEDED, "The request did not arrive in time"),
    500: (INTERNAL, "The proxy failed"),
    502: (UNAVAILABLE, "The replica closed the connection without an answer"),
    503: (UNAVAILABLE, "No replica is ready"),
    504: (DEADLINE_EXCEEDED, "The replica did not answer in time"),
}
"""HAProxy's own answers, by their status of HTTP."""


_HAS_TYPE = "{ res.hdr(content-type) -m found }"
OWN_ANSWERS = (
    f"http-after-response set-header content-type application/grpc unless {_HAS_TYPE}",
    "http-after-response set-status 200 if { res.hdr(grpc-status) -m found }",
)
"""Clients in Go read no status of gRPC without this type, or beside another status of HTTP. HAProxy
gives a type only to an answer that has a body."""


def has_grpc(config: str) -> bool:
    """Whether the service has gRPC at all."""
    return HaproxyTemplate.HAS_GRPC in config


def edit_grpc(
    config: str,
    *,
    frontend: Sequence[str],
    public_host: str,
    requests_per_replica: int,
    body_seconds: int,
    too_long: Iterable[tuple[int, str, str]],
) -> str:
    r"""``config`` with limits and answers for gRPC, if it has any.

    Args:
        config: Ray's.
        frontend: rules for who may connect.
        public_host: address on which to listen; may refer to Ray's as ``\1``.
        requests_per_replica: most requests that HAProxy has with each replica; 0 for no limit.
        body_seconds: most for as much of a message as one buffer holds.
        too_long: status of HTTP, text and condition of heads that are refused.

    Raises:
        UnexpectedConfigError: Ray's template has changed.
    """
    if not has_grpc(config):
        return config
    rules = [
        *frontend,
        # A stream of requests, as reflection has, sends no whole body to wait for.
        "no option http-buffer-request",
        *_errors(),
        *OWN_ANSWERS,
        *(_refuse(RESOURCE_EXHAUSTED, text, condition) for _, text, condition in too_long),
        _refuse(UNIMPLEMENTED, "There is no such method", NO_METHOD),
        # Before a replica is chosen: a call without a message must not take the place of others.
        f"http-request wait-for-body time {body_seconds}s if {{ path {MODEL_INFER} }}",
    ]
    public = rf"frontend grpc_frontend\n    bind {public_host}:\2 proto h2\n    mode http"
    config = replace_once(HaproxyTemplate.GRPC, public, config, lines(rules))
    backends = re.findall(HaproxyTemplate.GRPC_BACKEND, config, re.MULTILINE)
    replicas = _replicas(config)
    for backend in (*backends, *re.findall(HaproxyTemplate.GRPC_FALLBACK, config, re.MULTILINE)):
        rules = ["no option http-buffer-request", *_errors()]
        rules += [_refuse(*each) for each in MALFORMED]
        rules += _full(requests_per_replica * len(replicas.get(backend, ())))
        head = rf"^backend {re.escape(backend)}\n    mode http$"
        config = replace_once(head, r"\g<0>", config, lines(rules))
    if not backends:
        # Clients take Ray's NOT_FOUND as permanent, which it is not while the routes are unknown.
        unknown = [_refuse(UNAVAILABLE, "The routes are not known yet", "TRUE")]
        backend = "backend default_grpc_backend\n    mode http"
        return replace_once(HaproxyTemplate.GRPC_NO_ROUTE, backend, config, lines(unknown))
    return _with_predictions_over_http(config, replicas, requests_per_replica)


def _with_predictions_over_http(
    config: str, replicas: Mapping[str, Sequence[str]], requests_per_replica: int
) -> str:
    """``config`` that sends ModelInfer to the HTTP servers of the replicas.

    They take a call in a fraction of the time of their gRPC servers, which have all other methods,
    and this one while no HTTP server is up. Of several applications only Serve knows which one
    speaks the protocol.

    Raises:
        UnexpectedConfigError: Ray's template has changed.
    """
    applications = re.findall(HaproxyTemplate.GRPC_APPLICATION, config, re.MULTILINE)
    if not applications:
        raise UnexpectedConfigError(HaproxyTemplate.GRPC_APPLICATION)
    name, *others = applications
    if others:
        return config
    http = f"http-{name}"
    servers = replicas.get(http, ())
    if not servers:
        return config
    is_wanted = f"is_model_infer {{ nbsrv({MODEL_INFER_BACKEND}) gt 0 }}"
    routes = [
        f"acl is_model_infer path {MODEL_INFER}",
        f"use_backend {MODEL_INFER_BACKEND} if {is_wanted} is_grpc-{name}",
        f"use_backend {MODEL_INFER_BACKEND} if {is_wanted} !{{ req.hdr(application) -m found }}",
    ]
    config = replace_once(HaproxyTemplate.GRPC_APPLICATION, r"\g<0>", config, lines(routes))
    rules = ["mode http", *_errors(), *_full(requests_per_replica * len(servers))]
    rules.append("http-reuse always")
    # Checked once, in their other backend.
    rules += [f"server {each} track {http}/{each.split()[0]}" for each in servers]
    return config.rstrip("\n") + f"\nbackend {MODEL_INFER_BACKEND}{lines(rules)}\n"


def _full(most: int) -> list[str]:
    """Refuse more than so many calls at once, but no health checks: full is not broken.

    Args:
        most: calls; 0 for no limit.
    """
    text = "Every replica has as many requests as it can answer in time"
    is_too_many = f"{{ be_conn gt {most} }} !{{ path -m beg /{HEALTH}/ }}"
    return [_refuse(RESOURCE_EXHAUSTED, text, is_too_many)] if most else []


def _replicas(config: str) -> dict[str, list[str]]:
    """Name and address of each replica, of each backend that has any."""
    backend, found = "", dict[str, list[str]]()
    for line in config.splitlines():
        if match := re.match(HaproxyTemplate.BACKEND, line):
            backend = match[1]
        elif match := re.match(HaproxyTemplate.ANY_REPLICA, line):
            found.setdefault(backend, []).append(match[1])
    return found


def _errors() -> list[str]:
    return [f"http-error status {http} {_answer(*error)}" for http, error in ERRORS.items()]


def _refuse(code: int, text: str, condition: str) -> str:
    return f"http-request return status 200 {_answer(code, text)} if {condition}"


def _answer(code: int, text: str) -> str:
    return f'hdr grpc-status {code} hdr grpc-message "{text}"'
