"""``serve-app k8s``: manifests, a cluster, and rollouts, with kubectl."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serve_app.cli.style import DIRECTORY, EXISTING_FILE, ZERO_OR_MORE, Command, Group, extra

if TYPE_CHECKING:
    from deploy.kubectl import Kubectl

ROLLOUT_SECONDS = 1800
"""Long enough for new nodes and a new image."""
SMOKE_SECONDS = 900
"""A new load balancer takes minutes."""

MANIFEST = click.argument("manifest", type=EXISTING_FILE)


def context_option(command: Any) -> Any:
    """The option ``--context``."""
    return click.option("--context", help="kubectl's context; by default the current one.")(command)


def deadline_option(seconds: int) -> Callable[[Any], Any]:
    """The option ``--deadline``."""
    return click.option(
        "--deadline",
        type=ZERO_OR_MORE,
        default=seconds,
        metavar="SECONDS",
        help="Wait at most this long.",
    )


@click.group(cls=Group)
def k8s() -> None:
    """Render manifests, prepare a cluster, roll out."""


@k8s.command(cls=Command, example="serve-app k8s render --image NAME@sha256:DIGEST")
@click.option("--image", metavar="NAME@sha256:DIGEST", help="Image to run, and its project.")
@click.option("--revision", default="unknown", help="What the image was built from.")
@click.option(
    "--directory",
    type=DIRECTORY,
    default=Path(),
    help="Directory with kuberay/ and serve_config.yaml.",
)
def render(image: str | None, revision: str, directory: Path) -> None:
    """Write what kuberay/ takes from elsewhere.

    That is the Serve config, Ray's version, the number of workers and, with --image, the release.
    """
    from deploy import render as rendering

    for path in rendering.render(directory, image, revision):
        click.echo(path)


@k8s.command(cls=Command, example="serve-app k8s cluster --context kind-kind")
@click.option("--context", required=True, help="kubectl's context, such as kind-kind.")
@click.option("--dry-run", is_flag=True, help="Print every command and run none.")
def cluster(context: str, *, dry_run: bool) -> None:
    """Install what a cluster needs once.

    That is the namespace, the priority of its pods, KubeRay, and the token of Ray's dashboard.
    """
    from deploy.cluster import prepare_cluster
    from deploy.shell import Shell

    prepare_cluster(Shell(dry_run=dry_run, say=click.echo), context)


@k8s.command(cls=Command, example="serve-app k8s status --context kind-kind")
@context_option
def status(context: str | None) -> None:
    """Say whether what was applied serves.

    Looks once; the exit code is 1 if it does not serve.
    """
    from deploy.rollout import RolloutError, look
    from deploy.status import RolloutState

    kubectl = _kubectl(context)
    kubectl.check_reachable()
    verdict = look(kubectl)
    line = f"{verdict.state.value}: {verdict.reason}"
    if verdict.state is not RolloutState.READY:
        raise RolloutError(line)
    click.echo(line)


@k8s.command(cls=Command, example="serve-app k8s diagnose --context kind-kind")
@context_option
def diagnose(context: str | None) -> None:
    """Print states, events and logs.

    The last lines of every log are among them, and no secret.
    """
    from deploy import checks

    click.echo(checks.diagnose(_kubectl(context)))


@k8s.group(cls=Group)
def rollout() -> None:
    """Put a manifest into production.

    A deployment is: apply, wait, smoke, traces, record; and rollback when one of them fails.
    """


@rollout.command(cls=Command, example="serve-app k8s rollout apply manifest.yaml")
@MANIFEST
@context_option
def apply(manifest: Path, context: str | None) -> None:
    """Apply MANIFEST, which `kubectl kustomize` has rendered."""
    from deploy import rollout as steps

    steps.apply(_kubectl(context), manifest.read_text(encoding="utf-8"))


@rollout.command(cls=Command, example="serve-app k8s rollout wait --deadline 900")
@deadline_option(ROLLOUT_SECONDS)
@context_option
def wait(deadline: float, context: str | None) -> None:
    """Wait until what was applied serves, or has failed."""
    _wait(_kubectl(context), deadline)


@rollout.command(cls=Command, example="serve-app k8s rollout smoke --model 0123456789ab")
@click.option(
    "--url",
    default="",
    show_default=False,
    help="Public address, if not that of the load balancer.",
)
@click.option(
    "--model", default="", show_default=False, help="Version of the model that must answer."
)
@deadline_option(SMOKE_SECONDS)
@context_option
def smoke(url: str, model: str, deadline: float, context: str | None) -> None:
    """Predict through the public address.

    Sends the sample of the model card until one model has answered each of a round of requests.
    """
    with extra("kubernetes"):
        from deploy import smoke as smoke_test

    kubectl = _kubectl(context)
    click.echo(
        smoke_test.smoke(
            lambda: url or smoke_test.public_url(kubectl), deadline, model=model, say=click.echo
        )
    )


@rollout.command(cls=Command, example="serve-app k8s rollout traces")
@context_option
def traces(context: str | None) -> None:
    """Check that the pods can write spans.

    Sends one from inside the head and one from inside a worker.
    """
    from deploy import checks

    click.echo("\n".join(checks.traces(_kubectl(context))))


@rollout.command(cls=Command, example="serve-app k8s rollout record manifest.yaml")
@MANIFEST
@context_option
def record(manifest: Path, context: str | None) -> None:
    """Keep MANIFEST for a rollback."""
    from deploy import rollout as steps

    steps.record(_kubectl(context), manifest.read_text(encoding="utf-8"))


@rollout.command(cls=Command, example="serve-app k8s rollout rollback")
@deadline_option(ROLLOUT_SECONDS)
@context_option
def rollback(deadline: float, context: str | None) -> None:
    """Apply the manifest kept last, and wait."""
    from deploy import rollout as steps

    kubectl = _kubectl(context)
    steps.roll_back(kubectl)
    _wait(kubectl, deadline)


def _wait(kubectl: "Kubectl", deadline: float) -> None:
    from deploy import rollout as steps

    steps.wait(lambda: steps.look(kubectl), deadline, say=click.echo)


def _kubectl(context: str | None) -> "Kubectl":
    from deploy.kubectl import Kubectl
    from deploy.shell import Shell

    kubectl = Kubectl(Shell(say=click.echo), context)
    kubectl.check_context()
    return kubectl
