"""HAProxy, the proxy of the production mode: let it answer what it has accepted.

https://docs.haproxy.org/2.8/management.html, sections 4 (signals) and 9.3 (Runtime API).
"""

import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import psutil

from serve_app.ray_internals import ADMIN_SOCKET, HAPROXY, is_config_of_node
from serve_app.runtime.processes import named

PROMPT = b"\n> "
ANSWER_SECONDS = 2.0
POLL_SECONDS = 0.25
QUIET_POLLS = 2
"""The first request of a new connection may still be on its way."""

Processes = Callable[[], Iterable[psutil.Process]]


def proxies_of(node_id: str) -> list[psutil.Process]:
    """HAProxy processes of one Ray node, also those whose manager has died."""
    found = []
    for process in named(psutil.process_iter(), HAPROXY):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            config = _config_of(process)
            if config is not None and is_config_of_node(config, node_id):
                found.append(process)
    return found


def soft_stop(processes: Processes, timeout: float | None) -> bool:
    """Let HAProxy accept no more connections and answer the requests that it has.

    A process may stay alive for clients that keep an idle connection open; their next request gets
    an answer with ``Connection: close``.

    Args:
        processes: lists the processes to search for HAProxy. It is called again and again, because
            HAProxy is replaced whenever a replica comes or goes.
        timeout: most seconds to wait; None for no limit.

    Returns:
        Whether every request was answered in time.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    with contextlib.ExitStack() as stack:
        sockets: dict[psutil.Process, AdminSocket | None] = {}
        quiet_polls = 0
        while proxies := named(processes(), HAPROXY):
            for proxy in proxies:
                if proxy not in sockets:
                    quiet_polls = 0
                    opened = AdminSocket.of(proxy)
                    sockets[proxy] = stack.enter_context(opened) if opened else None
                with contextlib.suppress(psutil.NoSuchProcess):
                    proxy.send_signal(signal.SIGUSR1)
            if quiet_polls == QUIET_POLLS:
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            _, running = psutil.wait_procs(proxies, timeout=POLL_SECONDS)
            busy = any(_may_have_requests(sockets[proxy]) for proxy in running)
            quiet_polls = 0 if busy else quiet_polls + 1
    return True


def _config_of(proxy: psutil.Process) -> Path | None:
    command = proxy.cmdline()
    return Path(command[command.index("-f") + 1]) if "-f" in command[:-1] else None


def _may_have_requests(admin: "AdminSocket | None") -> bool:
    """Whether a process may have requests; one without an admin socket may."""
    return admin is None or admin.shows_requests()


class AdminSocket:
    """HAProxy's Runtime API. Open it before the soft stop: HAProxy accepts none after it."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_SECONDS)
        try:
            self._socket.connect(str(path))
            self._ask("prompt")
        except OSError:
            self._socket.close()
            raise

    @classmethod
    def of(cls, proxy: psutil.Process) -> Self | None:
        """The admin socket of ``proxy``; None for a process that was replaced, which has none."""
        with contextlib.suppress(OSError, psutil.NoSuchProcess), contextlib.ExitStack() as opened:
            if config := _config_of(proxy):
                admin = cls(config.with_name(ADMIN_SOCKET))
                opened.enter_context(admin)
                if admin.belongs_to(proxy):
                    opened.pop_all()
                    return admin
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def belongs_to(self, proxy: psutil.Process) -> bool:
        """Whether ``proxy`` is the process that answers."""
        return f"\nPid: {proxy.pid}\n" in self._ask("show info")

    def shows_requests(self) -> bool:
        """Whether HAProxy lists any request, from its first byte to the last of its answer."""
        try:
            sessions = self._ask("show sess").splitlines()
        except OSError:
            return True
        return any(" fe=" in line and " fe=GLOBAL " not in line for line in sessions)

    def _ask(self, command: str) -> str:
        self._socket.sendall(f"{command}\n".encode())
        answer = b""
        while not answer.endswith(PROMPT):
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionError("HAProxy has closed its admin socket")
            answer += part
        return answer.decode()
