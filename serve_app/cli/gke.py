"""``serve-app gke``."""

import click

from serve_app.cli.style import Group


@click.group(cls=Group)
def gke() -> None:
    """TODO."""
