"""TCP ports of this machine."""

import contextlib
import errno
import random
import socket
from collections.abc import Callable, Iterator, Mapping

import psutil

from serve_app.errors import UserError

LOOPBACK = "127.0.0.1"

FIXED_PORTS: Mapping[str, int] = {
    "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
    "RAY_SERVE_HAPROXY_METRICS_PORT": 9101,
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500,
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": 9500,
    "AUTOSCALER_METRIC_PORT": 44217,
    "DASHBOARD_METRIC_PORT": 44227,
}
"""Ports that Ray does not choose itself, by the variable that moves each. Replicas take the next
free one from 30000 on, and the dashboard from 8265 on."""

SPARE_PORTS = range(20000, 30000)
"""Below those of Serve's replicas, and of the kernel: ``net.ipv4.ip_local_port_range`` is 32768 to
60999 where nobody has changed it."""


class PortError(UserError):
    """A port that cannot be used: names it, who uses it, and the fix."""


def free_port() -> int:
    """A port of this machine's loopback on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def spare_ports() -> Iterator[int]:
    """Ports that are free on all interfaces, and that no program gets which asks for any port.

    Ray asks for a dozen of those between this choice and the use of the ports.
    """
    for port in random.sample(SPARE_PORTS, len(SPARE_PORTS)):
        if _refusal(port, "") is None:
            yield port


def listens(port: int, address: str = LOOPBACK) -> bool:
    """Whether a connection to ``port`` is accepted."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def require_free_port(
    port: int, *, address: str = "", fix: str = "choose another port with --port"
) -> None:
    """Check that a server can listen on ``port``.

    Args:
        port: the port.
        address: of the interface; empty for all.
        fix: what to do other than to stop the process that listens there.

    Raises:
        PortError: it cannot.
    """
    if error := _refusal(port, address):
        if error.errno == errno.EADDRNOTAVAIL:
            raise PortError(
                f"{address} is no address of this machine; choose another with --host, such as "
                "0.0.0.0 for all of them"
            ) from error
        user = user_of(port)
        reason = f"is in use by {user}; stop it" if user else f"cannot be used ({error})"
        raise PortError(f"port {port} {reason}, or {fix}") from error


def user_of(port: int) -> str | None:
    """The process that listens on ``port``, with its id; None if nobody does."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,):
            with contextlib.suppress(psutil.Error):
                if connection.pid is not None:
                    return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            return "a process of another user"
    return None


def fixed_ports(
    environment: Mapping[str, str], *, move: bool, say: Callable[[str], None]
) -> dict[str, str]:
    """Variables that give `FIXED_PORTS` free ports, so that several services can run.

    Args:
        environment: variables of the user; a port that is set there is not moved.
        move: whether to choose other ports even if the usual ones are free now: another service
            may be about to take them.
        say: called with a line for each port that is moved because it is in use.

    Raises:
        PortError: what the user has set is no port, or is in use.
    """
    variables, spare = {}, spare_ports()
    for name, port in FIXED_PORTS.items():
        if name in environment:
            require_free_port(_number(name, environment), fix=f"set {name} to another port")
        elif move:
            variables[name] = str(next(spare))
        elif _refusal(port, ""):
            variables[name] = str(next(spare))
            say(f"port {port} is in use by {user_of(port)}: {variables[name]} takes its place")
    return variables


def _number(name: str, environment: Mapping[str, str]) -> int:
    try:
        return int(environment[name])
    except ValueError as error:
        raise PortError(f"{name}={environment[name]!r} is not a port") from error


def _refusal(port: int, address: str) -> OSError | None:
    """Why a server cannot listen on ``port``."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OverflowError as error:
            return OSError(str(error))
        except OSError as error:
            return error
    return None
