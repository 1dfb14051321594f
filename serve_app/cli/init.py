"""``serve-app init``."""

import click

from serve_app.cli.style import Command


@click.command(cls=Command, example="serve-app init")
def init() -> None:
    """TODO."""
