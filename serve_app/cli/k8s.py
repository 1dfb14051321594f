"""``serve-app k8s``."""

import click

from serve_app.cli.style import Group


@click.group(cls=Group)
def k8s() -> None:
    """TODO."""
