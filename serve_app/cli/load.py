"""``serve-app load``, ``scale``, ``plan`` and ``simulate``."""

import click

from serve_app.cli.style import Command


def _todo(name):
    @click.command(name, cls=Command, example="TODO")
    def command() -> None:
        """TODO."""

    return command


load, scale, plan, simulate = map(_todo, ("load", "scale", "plan", "simulate"))
