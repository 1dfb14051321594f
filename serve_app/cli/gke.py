"""``serve-app gke``."""

import functools
import re
from collections.abc import Mapping
from typing import Any

import click

from deploy.gke.target import GkeTarget
from serve_app.cli.style import COUNT, Group
from serve_app.errors import UserError


class Pattern(click.types.StringParamType):
    """Text of a certain form."""

    def __init__(self, name: str, pattern: str, example: str) -> None:
        self.name = name
        self._pattern = re.compile(pattern)
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return ``value``, or fail with an example of the right form."""
        if not self._pattern.fullmatch(value):
            self.fail(f"{value!r} is no {self.name}, such as {self._example}", param, ctx)
        return str(value)


PROJECT = Pattern("project id", r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", "my-project-1234")
REGION = Pattern("region", r"[a-z]+-[a-z]+\d+", "europe-west1")
REPOSITORY = Pattern("OWNER/NAME", r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", "octo/serve-app")
CLUSTER = Pattern("cluster name", r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", GkeTarget.cluster)
NUMBER = Pattern("number", r"\d+", "123456789")
OPTIONS = (
    click.option("--project", type=PROJECT, required=True, help="Id of the Google Cloud project."),
    click.option("--region", type=REGION, required=True, help="Such as europe-west1."),
    click.option(
        "--repository",
        type=REPOSITORY,
        required=True,
        metavar="OWNER/NAME",
        help="The repository on GitHub.",
    ),
    click.option("--repository-id", type=NUMBER, help="Its number; by default gh is asked."),
    click.option("--owner-id", type=NUMBER, help="Its owner's; by default gh is asked."),
    click.option("--cluster", type=CLUSTER, default=GkeTarget.cluster, help="Name of the cluster."),
    click.option(
        "--dry-run",
        is_flag=True,
        help="Print every command and run none: '?' looks, '$' changes something.",
    ),
)


def _target_options(command: Any) -> Any:
    return functools.reduce(lambda decorated, option: option(decorated), reversed(OPTIONS), command)


@click.group(cls=Group)
def gke() -> None:
    """Set up Google Cloud, or take it down again.

    Needs gcloud with its gke-gcloud-auth-plugin, kubectl, helm and git, and a project that you own.
    """


EXAMPLE = "serve-app gke {} --project my-project --region europe-west1 --repository octo/serve-app"


@gke.command(example=EXAMPLE.format("setup") + " --dry-run")
@_target_options
@click.option("--machine-type", default=GkeTarget.machine_type, help="Machine type of the nodes.")
@click.option(
    "--max-nodes",
    type=COUNT,
    default=GkeTarget.max_nodes,
    help="Most nodes; an upgrade runs two Ray clusters at once.",
)
def setup(*, dry_run: bool, **options: Any) -> None:
    """Create what is missing; a second run changes nothing."""
    from deploy.gke.setup import set_up
    from deploy.shell import Shell

    shell = Shell(dry_run=dry_run)
    target = _target(options).resolved(shell)
    set_up(shell, target)
    click.echo("# Done. Tell GitHub, once:")
    for name, value in target.github_variables.items():
        click.echo(f"gh variable set {name} --repo={target.repository} --body={value}")


@gke.command(example=EXAMPLE.format("teardown") + " --yes")
@_target_options
@click.option("--yes", is_flag=True, help="Really.")
@click.option("--images", is_flag=True, help="Delete every image, too.")
def teardown(*, dry_run: bool, yes: bool, images: bool, **options: Any) -> None:
    """Delete it again."""
    from deploy.gke.setup import tear_down
    from deploy.shell import Shell

    target = _target(options)
    if not (yes or dry_run):
        raise UserError(
            f"teardown deletes cluster {target.cluster} in project {target.project} and all that "
            "runs there; look at it with --dry-run, then add --yes"
        )
    shell = Shell(dry_run=dry_run)
    tear_down(shell, target.resolved(shell), images=images)


def _target(options: Mapping[str, Any]) -> GkeTarget:
    return GkeTarget(**{name: value for name, value in options.items() if value is not None})
