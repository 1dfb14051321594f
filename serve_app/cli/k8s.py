"""``serve-app k8s``: manifests, a cluster, and rollouts, with kubectl."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serve_app.cli.style import DIRECTORY, EXISTING_FILE, ZERO_OR_MORE, Group, extra
from serve_app.errors import CheckFailedError

if TYPE_CHECKING:
    from deploy.kubectl import Kubectl

ROLLOUT_SECONDS = 1800
"""Long enough for new nodes and a new image."""
SMOKE_SECONDS = 900
"""A new load balancer takes minutes."""

MANIFEST = click.argument("manifest", type=EXISTING_FILE)
CONTEXT = click.option("--context", help="kubectl's context; by default the current one.")
deadline_option = partial(
    click.option,
    "--deadline",
    type=ZERO_OR_MORE,
    metavar="SECONDS",
    help="Wait at most this long.",
)


@click.group(cls=Group)
def k8s() -> None:
    """Render manifests, prepare a cluster, roll out."""


@k8s.command(example="serve-app k8s render --image NAME@sha256:DIGEST")
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


@k8s.command(example="serve-app k8s cluster --context kind-kind")
@click.option("--context", required=True, help="kubectl's context, such as kind-kind.")
@click.option("--dry-run", is_flag=True, help="Print every command and run none.")
def cluster(context: str, *, dry_run: bool) -> None:
    """Install what a cluster needs once.

    That is the namespace, priorities of pods, KubeRay, and the token of Ray's dashboard.
    """
    from deploy.cluster import prepare_cluster
    from deploy.shell import Shell

    prepare_cluster(Shell(dry_run=dry_run), context)


@k8s.command(example="serve-app k8s status --context kind-kind")
@CONTEXT
def status(context: str | None) -> None:
    """Say whether what was applied serves.

    Looks once; the exit code is 1 if it does not serve.
    """
    from deploy.rollout import look
    from deploy.status import RolloutState

    kubectl = _kubectl(context)
    kubectl.check_reachable()
    verdict = look(kubectl)
    line = f"{verdict.state.value}: {verdict.reason}"
    if verdict.state is not RolloutState.READY:
        raise CheckFailedError(line)
    click.echo(line)


@k8s.command(example="serve-app k8s diagnose --context kind-kind")
@CONTEXT
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


@rollout.command(example="serve-app k8s rollout apply manifest.yaml")
@MANIFEST
@CONTEXT
def apply(manifest: Path, context: str | None) -> None:
    """Apply MANIFEST, which `kubectl kustomize` has rendered."""
    from deploy import rollout as steps

    steps.apply(_kubectl(context), manifest.read_text(encoding="utf-8"))


@rollout.command(example="serve-app k8s rollout wait --deadline 900")
@deadline_option(default=ROLLOUT_SECONDS)
@CONTEXT
def wait(deadline: float, context: str | None) -> None:
    """Wait until what was applied serves, or has failed."""
    _wait(_kubectl(context), deadline)


@rollout.command(example="serve-app k8s rollout smoke --model 0123456789ab")
@click.option("--url", help="Public address, if not that of the load balancer.")
@click.option("--model", help="Version of the model that must answer.")
@deadline_option(default=SMOKE_SECONDS)
@CONTEXT
def smoke(url: str | None, model: str | None, deadline: float, context: str | None) -> None:
    """Predict through the public address.

    Sends the sample of the model card until one model has answered each of a round of requests.
    """
    with extra("kubernetes"):
        from deploy import smoke as smoke_test

    kubectl = _kubectl(context)
    smoke_test.smoke(lambda: url or smoke_test.public_url(kubectl), deadline, model)


@rollout.command(example="serve-app k8s rollout traces")
@CONTEXT
def traces(context: str | None) -> None:
    """Check that the pods can write spans.

    Sends one from inside the head and one from inside a worker.
    """
    from deploy import checks

    click.echo("\n".join(checks.traces(_kubectl(context))))


@rollout.command(example="serve-app k8s rollout record manifest.yaml")
@MANIFEST
@CONTEXT
def record(manifest: Path, context: str | None) -> None:
    """Keep MANIFEST for a rollback."""
    from deploy import rollout as steps

    steps.record(_kubectl(context), manifest.read_text(encoding="utf-8"))


@rollout.command(example="serve-app k8s rollout rollback")
@deadline_option(default=ROLLOUT_SECONDS)
@CONTEXT
def rollback(deadline: float, context: str | None) -> None:
    """Apply the manifest kept last, and wait."""
    from deploy import rollout as steps

    kubectl = _kubectl(context)
    steps.roll_back(kubectl)
    _wait(kubectl, deadline)


def _wait(kubectl: "Kubectl", deadline: float) -> None:
    from deploy import rollout as steps

    steps.wait(lambda: steps.look(kubectl), deadline)


def _kubectl(context: str | None) -> "Kubectl":
    from deploy.kubectl import Kubectl
    from deploy.shell import Shell

    kubectl = Kubectl(Shell(), context)
    kubectl.check_context()
    return kubectl
