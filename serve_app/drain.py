"""Let a Ray node leave without a failed request; worker pods run it before they stop.

First the ingress, then the node: Serve starts an ingress that has exited anew after some 20 s, but
not on a node that drains; and a node that drained first would still be asked for predictions over
open connections.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from serve_app.ingress import Processes, named, soft_stop_ingress

RAYLET = "raylet"
COMMAND_SECONDS = 15
STOP_SECONDS = 10

Say = Callable[[str], None]


@dataclass(frozen=True)
class Waits:
    """Most seconds that each step waits; tests compare them with the time-outs around them."""

    notice: float = 20.0
    """Load balancers go on sending for so long after the pod has begun to stop."""
    ingress: float = 15.0
    """Longer than any request."""
    node: int = 60
    """Serve starts replicas elsewhere first, then drains those here."""

    @property
    def total(self) -> float:
        """All steps together, each at its longest."""
        return self.notice + self.ingress + COMMAND_SECONDS + self.node + COMMAND_SECONDS


def drain(processes: Processes, waits: Waits, say: Say) -> None:
    """Leave the Ray cluster, step by step; a step that fails says so and is passed over."""
    say(f"answering for {waits.notice:g} s more, until load balancers have noticed")
    time.sleep(waits.notice)
    say("stopping the ingress, once it has answered what it accepted")
    if not soft_stop_ingress(processes, waits.ingress):
        say(f"the ingress still has requests after {waits.ingress:g} s; going on")
    say("draining the node: Serve moves its replicas")
    _drain_node(waits.node, say)
    # Ray ends a node that has drained. Where its head has gone, too, nobody tells this one to; but
    # other nodes' ingresses send requests here for as long as they drain themselves.
    psutil.wait_procs(named(processes(), RAYLET), timeout=waits.node)
    say("stopping Ray")
    _run(say, "ray", "stop", f"--grace-period={STOP_SECONDS}")


def _drain_node(seconds: int, say: Say) -> None:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        say("ray drain-node was not run: RAY_ADDRESS is not set; KubeRay sets it in its pods")
        return
    # The reason is the one that a node cannot refuse.
    reason = ("--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=the pod terminates")
    deadline = f"--deadline-remaining-seconds={seconds}"
    _run(say, "ray", "drain-node", f"--address={address}", *reason, deadline)


def _run(say: Say, *command: str) -> None:
    name = " ".join(command[:2])
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"{name} failed: {error}; going on")
        return
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        say(f"{name} failed (exit code {done.returncode}): {words}; going on")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m serve_app.drain", description=__doc__)
    parser.add_argument(
        "--notice-seconds",
        type=float,
        default=Waits.notice,
        help="go on answering for so long at first, until load balancers have noticed "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--log",
        type=Path,
        help="write there, such as /proc/1/fd/1: Kubernetes keeps no output of a preStop hook",
    )
    options = parser.parse_args(arguments)
    drain(psutil.process_iter, Waits(notice=options.notice_seconds), _say_to(options.log))
    return 0


def _say_to(path: Path | None) -> Say:
    def say(text: str) -> None:
        # Rather not in the log than not drained.
        with contextlib.suppress(OSError):
            if path is not None:
                with path.open("a", encoding="utf-8") as log:
                    print(f"drain: {text}", file=log)
                return
        print(f"drain: {text}", flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
