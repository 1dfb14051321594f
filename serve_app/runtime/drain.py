"""Take a Ray node out of service without a failed request; worker pods run it before they stop.

The proxy stops first, then the node. Serve restarts a proxy that has exited after some 20 s, but
not on a node that drains. A node that drained first would still receive requests over open
connections.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from serve_app.ray_internals.nodes import RAYLET, drain_node_command
from serve_app.runtime.haproxy import Processes, soft_stop
from serve_app.runtime.processes import named
from serve_app.runtime.waits import COMMAND_SECONDS, Waits

STOP_SECONDS = 10

Say = Callable[[str], None]


def drain(processes: Processes, waits: Waits, say: Say) -> None:
    """Leave the Ray cluster, step by step; a step that fails is reported and skipped."""
    say(f"answering for {waits.notice:g} s more, until load balancers have noticed")
    time.sleep(waits.notice)
    say("stopping the proxy when it has answered what it accepted")
    if not soft_stop(processes, waits.proxy):
        say(f"the proxy still has requests after {waits.proxy:g} s; going on")
    say("draining the node: Serve moves its replicas")
    _drain_node(waits.node, say)
    # Ray ends a node that has drained. If the head has gone too, nobody ends this node, but the
    # proxies of other nodes send requests here for as long as they drain themselves.
    psutil.wait_procs(named(processes(), RAYLET), timeout=waits.node)
    say("stopping Ray")
    _run(say, "ray", "stop", f"--grace-period={STOP_SECONDS}")


def say_to(path: Path | None) -> Say:
    """Write lines to ``path``, or to standard output."""

    def say(text: str) -> None:
        # A failing log must not stop the drain.
        with contextlib.suppress(OSError):
            if path is not None:
                with path.open("a", encoding="utf-8") as log:
                    print(f"drain: {text}", file=log)
                return
        print(f"drain: {text}", flush=True)

    return say


def _drain_node(seconds: int, say: Say) -> None:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        say("ray drain-node was not run: RAY_ADDRESS is not set; KubeRay sets it in its pods")
        return
    _run(say, *drain_node_command(address, "the pod terminates", seconds))


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
