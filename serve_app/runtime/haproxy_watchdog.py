"""Starts HAProxy again at once when it has ended and Ray Serve did not mean it to.

Ray takes up to half a minute to notice, and then starts another manager, whose HAProxy knows no
routes at first. Until that one has routes, a stand-in serves with the last config.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serve_app.ray_internals.haproxy import ADMIN_SOCKET
from serve_app.ray_internals.nodes import RAYLET
from serve_app.runtime.haproxy_admin import pid_at
from serve_app.runtime.haproxy_config import with_admin_socket

STARTING = "haproxy-starts"
"""Name of the watchdog's process until HAProxy answers; if it ends before, it has no stand-in."""
WATCHDOG = "haproxy-watch"
"""Its name from then on."""
STAND_IN_CONFIG = "stand-in.cfg"
STAND_IN_SOCKET = "stand-in.sock"
"""Runtime API of the process that has the ports until another one takes them over: the stand-in, or
the HAProxy of a manager that has died. Beside Ray's own files."""
START_POLL_SECONDS = 0.05
RETRY_SECONDS = 1.0
"""Between two stand-ins, should the first end, too."""


class ManagerLog:
    """Logs warnings where Ray shows them: in the log of HAProxy's manager, the parent process.

    Ray keeps HAProxy's own output in files that nobody reads.
    """

    def __init__(self) -> None:
        self._log = sys.stderr
        with contextlib.suppress(OSError):
            # Open from now on: the manager may end first. A pipe that nobody reads must hold up
            # neither HAProxy's start nor the watchdog.
            flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK
            self._log = os.fdopen(os.open(f"/proc/{os.getppid()}/fd/2", flags), "w")

    def __call__(self, message: str) -> None:
        """Write one line."""
        with contextlib.suppress(OSError):
            print(
                json.dumps({"severity": "WARNING", "message": message}), file=self._log, flush=True
            )


def start_watchdog(program: str, config: Path, say: ManagerLog) -> None:
    """Watch this process, which is about to become HAProxy.

    Args:
        program: HAProxy.
        config: its config, beside which its admin socket will be.
        say: where the watchdog reports.
    """
    node = node_of(os.getpid())
    watched = _Watched(
        os.getpid(), os.pidfd_open(os.getpid()), None if node is None else os.pidfd_open(node)
    )
    if child := os.fork():
        os.waitpid(child, 0)
        return
    try:
        # Before HAProxy can answer: who sees it answer sees the watchdog, too.
        _name_process(STARTING)
        # Twice, so that HAProxy has no child that it does not know.
        if os.fork() == 0:
            # Ray kills the group of a manager that has died. The session is that of the service,
            # whose launcher ends all of it.
            os.setpgid(0, 0)
            _watch(watched, program, config, say)
    except BaseException as error:
        say(f"HAProxy is no longer watched: {error!r}")
    finally:
        os._exit(0)


@dataclass(frozen=True)
class _Watched:
    """HAProxy, and the Ray node without which it has nobody to send requests to."""

    pid: int
    process: int
    """Descriptor that becomes readable when HAProxy ends."""
    node: int | None
    """The same for the node's main process; None if it is not known."""

    def wait(self, process: int, seconds: float | None = None) -> bool:
        """Wait for ``process`` or the node to end; whether one of them has."""
        watched = [process] if self.node is None else [process, self.node]
        return bool(select.select(watched, [], [], seconds)[0])

    def node_ended(self) -> bool:
        """Whether the node has ended."""
        return self.node is not None and bool(select.select([self.node], [], [], 0)[0])


def _watch(watched: _Watched, program: str, config: Path, say: ManagerLog) -> None:
    admin_socket = config.with_name(ADMIN_SOCKET)
    while pid_at(admin_socket) != watched.pid:
        if watched.wait(watched.process, START_POLL_SECONDS):
            return  # it has never served
    _name_process(WATCHDOG)
    watched.wait(watched.process)
    if watched.node_ended():
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(watched.process, signal.SIGKILL)
        return
    text = with_admin_socket(
        config.read_text(encoding="utf-8"), str(config.with_name(STAND_IN_SOCKET))
    )
    stand_in = config.with_name(STAND_IN_CONFIG)
    stand_in.write_text(text, encoding="utf-8")
    # Another one that answers has replaced it, and has a watchdog of its own.
    if pid_at(admin_socket) is None:
        say("HAProxy ended unexpectedly; a stand-in serves until Ray Serve starts another one")
    while pid_at(admin_socket) is None and not watched.node_ended():
        if _serve((program, "-db", "-dR", "-f", str(stand_in)), watched):
            return
        time.sleep(RETRY_SECONDS)


def _name_process(name: str) -> None:
    Path("/proc/self/comm").write_text(name, encoding="ascii")


def _serve(command: Sequence[str], watched: _Watched) -> bool:
    """Run a stand-in; whether it ended because it was asked to."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as process:  # noqa: S603
        ended = os.pidfd_open(process.pid)
        watched.wait(ended)
        os.close(ended)
        if watched.node_ended():
            process.kill()
    return process.returncode == 0


def node_of(pid: int) -> int | None:
    """Main process of the Ray node to which a process belongs; None if it has no such ancestor."""
    while pid > 1:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if fields["Name"] == RAYLET:
            return pid
        pid = int(fields["PPid"])
    return None
