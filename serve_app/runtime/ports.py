"""TCP ports of this machine."""

import socket

from serve_app.errors import UserError

LOOPBACK = "127.0.0.1"


class PortError(UserError):
    """A port that cannot be used: names it and the fix."""


def free_port(address: str = LOOPBACK) -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int, address: str = LOOPBACK) -> bool:
    """Whether a connection to ``port`` is accepted."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def require_free_port(port: int) -> None:
    """Check that nobody listens on ``port``.

    Raises:
        PortError: somebody does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except (OSError, OverflowError) as error:
            raise PortError(
                f"port {port} cannot be used ({error}); stop the process that listens there, or "
                "choose another port with --port"
            ) from error
