"""Run Ray in a session of its own, and leave nothing of it behind, whatever ends it.

The launcher is two processes. The first one has the terminal, the signals and the exit code. The
second one leads a session of its own and starts Ray in it. A signal to the launcher's process group
does not reach Ray's processes, which would die in the middle of their requests. Every process that
Ray starts stays in that session: its id tells exactly what has to be ended.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from enum import Enum

from serve_app.errors import CheckFailedError
from serve_app.ray_internals.nodes import GCS, RAYLET
from serve_app.runtime.haproxy import soft_stop
from serve_app.runtime.parts import PartLostError, PartsWatch
from serve_app.runtime.processes import in_session, kill_session, named
from serve_app.runtime.signals import StopRequest, stop_on_signals

READY_SECONDS = 150.0
"""More than a start may take before it fails by itself, with a reason."""
STOP_SECONDS = 20.0
"""Serve and Ray stop within seconds; what still runs after that, and the requests, is killed."""
BROKEN_SECONDS = 10.0
"""Without its main processes Ray waits for them instead of stopping; they end last in a stop."""
KILL_SECONDS = 5.0
LOOK_SECONDS = 0.5
SET_PARENT_DEATH_SIGNAL = 1
"""``PR_SET_PDEATHSIG`` in linux/prctl.h."""

Say = Callable[[str], None]


class Phase(Enum):
    """What the service does, as its process tells the launcher."""

    STARTING = b""
    READY = b"r"
    STOPPING = b"s"


Tell = Callable[[Phase], None]


class StopError(CheckFailedError):
    """The service did not stop in order; what was left was killed."""


def supervise(run: Callable[[Tell], None], *, request_seconds: float, say: Say) -> None:
    """Call ``run`` in a process and a session of its own; returns there when ``run`` does.

    In the calling process it does not return: the process ends with the exit code of the other.

    Args:
        run: starts the service, handles SIGTERM from then on by stopping it in order, and calls its
            argument when the service is ready and when it begins to stop.
        request_seconds: longest time that a request may take.
        say: prints a line.

    Raises:
        PartLostError: a process that the service needs has ended.
        StopError: the service did not stop in order.
    """
    reader, writer = os.pipe()
    stop = StopRequest()
    stop_on_signals(stop)
    launcher = os.getpid()
    leader = os.fork()
    if leader == 0:
        os.close(reader)
        os.setsid()
        _stop_with(launcher)
        run(lambda phase: _tell(writer, phase))
        return
    os.close(writer)
    supervisor = _Supervisor(leader, reader, request_seconds, say)
    try:
        code = supervisor.wait(stop)
    finally:
        supervisor.end()
    sys.exit(code)


def _stop_with(launcher: int) -> None:
    """Get SIGTERM when the launcher dies, even by SIGKILL; it ends what has started nothing yet."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != launcher:
        sys.exit(1)


def _tell(writer: int, phase: Phase) -> None:
    # Nobody reads it where the launcher was killed.
    with contextlib.suppress(BrokenPipeError):
        os.write(writer, phase.value)


class _Supervisor:
    """The first process; see the module."""

    def __init__(self, leader: int, phases: int, request_seconds: float, say: Say) -> None:
        self._leader = leader
        self._phases = phases
        self._phase = Phase.STARTING
        self._request_seconds = request_seconds
        self._say = say
        self._exit_code: int | None = None

    def wait(self, stop: StopRequest) -> int:
        """Wait until the service has ended or was stopped; returns its exit code."""
        watch = PartsWatch(self._say)
        deadline = time.monotonic() + READY_SECONDS
        while not stop.wait(LOOK_SECONDS):
            ended, phase = self._has_ended(), self._read_phase()
            if phase is Phase.STOPPING:
                return self._wait_for_the_end()
            if phase is Phase.STARTING and time.monotonic() > deadline:
                raise StopError(f"the service is not ready after {READY_SECONDS:.0f} s")
            # What has ended may be why the process ends that runs Ray, but not why it was killed.
            if not self._was_killed():
                watch.look(in_session(self._leader), is_ready=phase is Phase.READY)
            if ended:
                return self._code_of_the_end()
        if self._read_phase() is Phase.STARTING:
            self._say("stopped before it was ready")
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._leader, signal.SIGTERM)
        return self._wait_for_the_end()

    def end(self) -> None:
        """Let HAProxy answer what it has accepted, and kill all processes that are left."""
        soft_stop(lambda: in_session(self._leader), self._request_seconds)
        kill_session(self._leader, KILL_SECONDS)
        self._has_ended()

    def _wait_for_the_end(self) -> int:
        seconds = self._request_seconds + STOP_SECONDS
        deadline = time.monotonic() + seconds
        broken_since: float | None = None
        while not self._has_ended():
            now = time.monotonic()
            broken_since = (broken_since or now) if self._is_broken() else None
            if broken_since is not None and now - broken_since > BROKEN_SECONDS:
                raise StopError("Ray's processes ended before the service; killed what was left")
            if now > deadline:
                raise StopError(f"the service did not stop within {seconds:.0f} s; it was killed")
            time.sleep(LOOK_SECONDS / 5)
        return self._code_of_the_end()

    def _is_broken(self) -> bool:
        running = in_session(self._leader)
        return not (named(running, RAYLET) and named(running, GCS))

    def _read_phase(self) -> Phase:
        if select.select([self._phases], [], [], 0)[0] and (told := os.read(self._phases, 100)):
            self._phase = Phase(told[-1:])
        return self._phase

    def _has_ended(self) -> bool:
        if self._exit_code is None:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self._leader, os.WNOHANG)
                if pid:
                    self._exit_code = os.waitstatus_to_exitcode(status)
        return self._exit_code is not None

    def _was_killed(self) -> bool:
        return self._exit_code is not None and self._exit_code < 0

    def _code_of_the_end(self) -> int:
        code = self._exit_code or 0
        if self._was_killed():
            name = signal.Signals(-code).name
            raise PartLostError(
                f"the process that runs Ray (pid {self._leader}) was ended by {name}; start the "
                "service again"
            )
        return code
