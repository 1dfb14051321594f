"""Parts of a running service that are processes: which of them has ended, and which came back."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

from serve_app.errors import CheckFailedError
from serve_app.ray_internals.haproxy import HAPROXY
from serve_app.ray_internals.nodes import (
    CONTROLLER,
    DASHBOARD,
    FALLBACK_PROXY,
    GCS,
    HAPROXY_MANAGER,
    RAYLET,
)

RECOVERY_SECONDS = 90.0
"""Serve has brought back what it restarts long before; 30 s without changes to its defaults."""


class PartLostError(CheckFailedError):
    """A part has ended for good: names it."""


@dataclass(frozen=True)
class Part:
    """A process without which the service is not whole."""

    process: str
    """The process's name, without the method that an actor runs; of a program that Python runs, the
    end of its path."""
    title: str
    restarted_by: str | None
    """Who starts another one; None if nobody does."""
    is_replaced: bool = False
    """Whether another one takes its place also where nothing has ended."""
    without: str = ""
    """What the service still does without it, if nobody starts another one; empty if nothing."""


PARTS = (
    Part(GCS, "Ray's GCS", None),
    Part(RAYLET, "the raylet", None),
    Part(CONTROLLER, "Serve's controller", "Ray"),
    Part(HAPROXY_MANAGER, "HAProxy's manager", "Serve"),
    Part(FALLBACK_PROXY, "Serve's fallback proxy", "Serve"),
    # At every change of the replicas; the new process comes first.
    Part(HAPROXY, "HAProxy", "its manager", is_replaced=True),
    Part(
        DASHBOARD,
        "Ray's dashboard",
        None,
        without="predictions go on; the dashboard's pages, `serve status`, `serve deploy` and "
        "`serve-app scale` do not work",
    ),
)


class PartsWatch:
    """Compares the processes of a service with those of the last look.

    Args:
        say: called with a line for each part that has ended or is back.
        clock: seconds.
    """

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._clock = clock
        self._known: dict[Part, psutil.Process] = {}
        self._lost: dict[Part, float] = {}

    def look(self, processes: Iterable[psutil.Process], *, is_ready: bool = True) -> None:
        """Note what has ended and what is back.

        Args:
            processes: all processes of the service.
            is_ready: whether it is whole; before that, Serve may try several times to start a part.

        Raises:
            PartLostError: a part has ended that nobody restarts, or that was not restarted within
                `RECOVERY_SECONDS`.
        """
        running = _by_part(processes)
        for part in PARTS:
            found = running.get(part)
            if part.restarted_by and not is_ready:
                # Remembered, so that its end just after the start is noticed.
                self._remember(part, found)
                continue
            known = self._known.get(part)
            # On a quiet machine another one is there before the next look.
            was_restarted = not part.is_replaced and found != known
            if known is not None and (found is None or was_restarted):
                self._has_ended(part, known)
            self._remember(part, found)
            if found is not None:
                if (since := self._lost.pop(part, None)) is not None:
                    seconds = self._clock() - since
                    self._say(f"{part.title} is back after {seconds:.1f} s (pid {found.pid})")
            elif self._clock() - self._lost.get(part, self._clock()) > RECOVERY_SECONDS:
                raise PartLostError(
                    f"{part.title} has ended, and was not started again within "
                    f"{RECOVERY_SECONDS:.0f} s; start the service again"
                )

    def _remember(self, part: Part, found: psutil.Process | None) -> None:
        if found is None:
            self._known.pop(part, None)
        else:
            self._known[part] = found

    def _has_ended(self, part: Part, process: psutil.Process) -> None:
        ended = f"{part.title} has ended (pid {process.pid})"
        if part.restarted_by is None:
            problem = f"{ended}, which is not restarted"
            if not part.without:
                raise PartLostError(f"{problem}; start the service again")
            self._say(f"{problem}: {part.without}, until you start the service again")
            return
        self._say(f"{ended}; {part.restarted_by} starts another one")
        self._lost.setdefault(part, self._clock())


def _by_part(processes: Iterable[psutil.Process]) -> dict[Part, psutil.Process]:
    """The process of each part.

    Of several it is the oldest, because what a process forks has its name for a moment; of those
    that are replaced, the youngest.
    """
    found: dict[Part, psutil.Process] = {}
    # The kernel counts starts in hundredths of a second.
    for process in sorted(processes, key=lambda each: (each.create_time(), each.pid)):
        try:
            title = _title(process)
        except psutil.NoSuchProcess:
            continue
        for part in PARTS:
            if title == part.process:
                if part.is_replaced:
                    found[part] = process
                else:
                    found.setdefault(part, process)
    return found


def _title(process: psutil.Process) -> str:
    """What `Part.process` is compared with; empty for other programs that Python runs."""
    name = process.name()
    if not name.startswith("python"):
        # Ray adds the method that an actor runs.
        return name.partition(".")[0]
    command = process.cmdline()
    # Options of Python may come before the program.
    return DASHBOARD if any(part.endswith(DASHBOARD) for part in command[:3]) else ""
