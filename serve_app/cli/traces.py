"""``serve-app traces``."""

import click

from serve_app.cli.style import Group


@click.group(cls=Group)
def traces() -> None:
    """Check that spans arrive where OTEL_TRACES_EXPORTER sends them."""


@traces.command(example="OTEL_TRACES_EXPORTER=gcp_trace serve-app traces check")
def check() -> None:
    """Send one span through the configured exporter; say what happened, and the fix."""
    from serve_app.tracing import check as checking

    click.echo(checking.check())
