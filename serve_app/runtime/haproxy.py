"""HAProxy, the proxy of the production mode: let it answer what it has accepted.

https://docs.haproxy.org/2.8/management.html, section 4 (signals).
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from serve_app.errors import UserError
from serve_app.ray_internals.haproxy import HAPROXY, is_config_of_node
from serve_app.runtime.haproxy_admin import AdminSocket
from serve_app.runtime.haproxy_config import admin_socket_of
from serve_app.runtime.haproxy_watchdog import STARTING, WATCHDOG
from serve_app.runtime.processes import named

POLL_SECONDS = 0.25
QUIET_POLLS = 2
"""The first request of a new connection may still be on its way."""

WATCHDOGS = (STARTING, WATCHDOG)

Processes = Callable[[], Iterable[psutil.Process]]


def proxies_of(node_id: str) -> list[psutil.Process]:
    """HAProxy processes of one Ray node and their watchdogs, also if their manager has died."""
    found = []
    processes = list(psutil.process_iter())
    for process in [each for name in (HAPROXY, *WATCHDOGS) for each in named(processes, name)]:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            config = _config_of(process)
            if config is not None and is_config_of_node(config, node_id):
                found.append(process)
    return found


def soft_stop(processes: Processes, timeout: float) -> bool:
    """Let HAProxy accept no more connections and answer the requests that it has.

    A process may stay alive for clients that keep an idle connection open; their next request gets
    an answer with ``Connection: close``.

    Args:
        processes: lists the processes to search for HAProxy. It is called again and again, because
            HAProxy is replaced whenever a replica comes or goes.
        timeout: most seconds to wait.

    Returns:
        Whether every request was answered in time.
    """
    deadline = time.monotonic() + timeout
    with contextlib.ExitStack() as stack:
        sockets: dict[psutil.Process, AdminSocket | None] = {}
        quiet_polls = 0
        while proxies := _without_watchdog(processes()):
            for proxy in proxies:
                if proxy not in sockets:
                    quiet_polls = 0
                    opened = _admin_socket_of(proxy)
                    sockets[proxy] = stack.enter_context(opened) if opened else None
                with contextlib.suppress(psutil.NoSuchProcess):
                    proxy.send_signal(signal.SIGUSR1)
            if quiet_polls == QUIET_POLLS:
                return True
            if time.monotonic() >= deadline:
                return False
            _, running = psutil.wait_procs(proxies, timeout=POLL_SECONDS)
            busy = any(_may_have_requests(sockets[proxy]) for proxy in running)
            quiet_polls = 0 if busy else quiet_polls + 1
    return True


def _without_watchdog(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """HAProxy among ``processes``, after the end of its watchdog, which would start another one."""
    found = list(processes)
    for watchdog in [each for name in WATCHDOGS for each in named(found, name)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            watchdog.kill()
    return named(found, HAPROXY)


def _config_of(proxy: psutil.Process) -> Path | None:
    command = proxy.cmdline()
    return Path(command[command.index("-f") + 1]) if "-f" in command[:-1] else None


def _admin_socket_of(proxy: psutil.Process) -> AdminSocket | None:
    """The Runtime API of ``proxy``; None for a process that was replaced, which has none."""
    with (
        contextlib.suppress(OSError, UserError, psutil.NoSuchProcess),
        contextlib.ExitStack() as opened,
    ):
        if config := _config_of(proxy):
            path = admin_socket_of(config.read_text(encoding="utf-8"))
            admin = opened.enter_context(AdminSocket(Path(path)))
            if admin.pid() == proxy.pid:
                opened.pop_all()
                return admin
    return None


def _may_have_requests(admin: AdminSocket | None) -> bool:
    """Whether a process may have requests; one without an admin socket may."""
    return admin is None or admin.shows_requests()
