"""``serve-app pod``: what the manifests run inside a Ray pod."""

import sys
from pathlib import Path

import click

from serve_app.cli.style import ZERO_OR_MORE, Group
from serve_app.ray_internals.nodes import SESSION_LOGS
from serve_app.runtime.waits import Waits


@click.group(cls=Group)
def pod() -> None:
    """Run by the manifests inside a Ray pod: drain it, forward its logs."""


@pod.command(example="serve-app pod drain --log /proc/1/fd/1")
@click.option(
    "--notice-seconds",
    type=ZERO_OR_MORE,
    default=Waits.notice,
    help="Keep answering for so long first, until load balancers have noticed.",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    help="Write there: Kubernetes keeps no output of a preStop hook.",
)
def drain(notice_seconds: float, log: Path | None) -> None:
    """Take this Ray node out of service without a failed request."""
    import psutil

    from serve_app.runtime.drain import drain as leave
    from serve_app.runtime.drain import say_to

    leave(psutil.process_iter, Waits(notice=notice_seconds), say_to(log))


@pod.command(example="serve-app pod logs")
@click.argument("directory", type=click.Path(path_type=Path), default=SESSION_LOGS)
def logs(directory: Path) -> None:
    """Copy the events that replicas log in DIRECTORY to standard output, until SIGTERM."""
    from serve_app.runtime.log_forwarding import forward

    forward(directory, sys.stdout.buffer)
