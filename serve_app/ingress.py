"""HAProxy, the ingress in production mode, from outside: let it answer what it has accepted.

https://docs.haproxy.org/2.8/management.html, sections 4 (signals) and 9.3 (its command line).
"""

import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import psutil

PROGRAM = "haproxy"
CONSOLE = "admin.sock"
"""Serve puts it beside the config of the same HAProxy."""
PROMPT = b"\n> "
ANSWER_SECONDS = 2.0
POLL_SECONDS = 0.25
QUIET_POLLS = 2
"""The first request of a new connection may still be on its way."""

Processes = Callable[[], Iterable[psutil.Process]]


def named(processes: Iterable[psutil.Process], name: str) -> list[psutil.Process]:
    """Those ``processes`` that have a name and still run."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.name() == name and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def ingresses_of(node_id: str) -> list[psutil.Process]:
    """HAProxies of one Ray node, and also those that lost the manager that had started them.

    Serve names the directory of their config after the node.
    """
    found = []
    for process in named(psutil.process_iter(), PROGRAM):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            config = _config_of(process)
            if config is not None and node_id in config.parts:
                found.append(process)
    return found


def soft_stop_ingress(processes: Processes, timeout: float | None) -> bool:
    """Let HAProxy accept no more and answer what it has.

    A process may go on for clients that only keep their connection open: those get an answer, and
    a ``Connection: close``, for as long as it lives.

    Args:
        processes: lists those among which HAProxy is; asked again and again, because its manager
            replaces it whenever a replica comes or goes.
        timeout: most seconds to wait; None for no limit.

    Returns:
        Whether all was answered in time.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    with contextlib.ExitStack() as stack:
        consoles: dict[psutil.Process, Console | None] = {}
        quiet_polls = 0
        while ingresses := named(processes(), PROGRAM):
            for ingress in ingresses:
                if ingress not in consoles:
                    quiet_polls = 0
                    console = Console.of(ingress)
                    consoles[ingress] = stack.enter_context(console) if console else None
                with contextlib.suppress(psutil.NoSuchProcess):
                    ingress.send_signal(signal.SIGUSR1)
            if quiet_polls == QUIET_POLLS:
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            _, running = psutil.wait_procs(ingresses, timeout=POLL_SECONDS)
            busy = any(_has_requests(consoles[ingress]) for ingress in running)
            quiet_polls = 0 if busy else quiet_polls + 1
    return True


def _config_of(ingress: psutil.Process) -> Path | None:
    command = ingress.cmdline()
    return Path(command[command.index("-f") + 1]) if "-f" in command[:-1] else None


def _has_requests(console: "Console | None") -> bool:
    """Whether a process may have requests; one that cannot be asked may."""
    return console is None or console.shows_requests()


class Console:
    """Command line of one HAProxy, opened before its soft stop: none is accepted after it."""

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
    def of(cls, ingress: psutil.Process) -> Self | None:
        """The one of ``ingress``, or None: a process that was replaced has none any more."""
        with contextlib.suppress(OSError, psutil.NoSuchProcess), contextlib.ExitStack() as opened:
            if config := _config_of(ingress):
                console = cls(config.with_name(CONSOLE))
                opened.enter_context(console)
                if console.is_of(ingress):
                    opened.pop_all()
                    return console
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def is_of(self, ingress: psutil.Process) -> bool:
        """Whether this is the process that answers."""
        return f"\nPid: {ingress.pid}\n" in self._ask("show info")

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
                raise ConnectionError("HAProxy has closed its command line")
            answer += part
        return answer.decode()
