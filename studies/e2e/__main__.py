"""``nox -s e2e -- --context NAME``: the whole story on a cluster, as a table."""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import click

from deploy import rollout
from deploy.kubectl import Kubectl
from deploy.shell import Shell, require_tools
from serve_app.cli.main import run
from serve_app.cli.style import ABOVE_ZERO, COUNT, DIRECTORY, Command
from serve_app.errors import CheckFailedError, UserError
from serve_app.runtime.signals import stopped_by_signals
from serve_app.serve_config import ServeConfig, packaged_config
from studies.e2e import chapters, incremental, report, surroundings
from studies.e2e.cluster import Addresses, Cluster, two_accounts
from studies.e2e.faults import FAULTS, Fault, Outcome, announce, meet, outage
from studies.e2e.story import Story
from studies.e2e.surroundings import CRDS

IMAGES = ("localhost/serve-app/serve-app:first", "localhost/serve-app/serve-app:second")
WORKERS = 2
"""Workers that serve while something breaks."""
CHAPTERS: Mapping[str, Callable[[Story], str]] = {
    "Strict validation": surroundings.check_manifests,
    "Spans": chapters.check_spans,
    "NetworkPolicy": chapters.check_network,
    "Protocols": chapters.check_protocols,
    "Load": chapters.load,
    "Scale out and in": chapters.scale,
    "Change in place": chapters.change_in_place,
    "Upgrade": chapters.upgrade,
    "Roll back what never starts": chapters.roll_back,
}
"""Between the first deployment and the faults."""
INCREMENTAL = "KubeRay's incremental upgrade"


@click.command(
    cls=Command,
    example="nox -s e2e -- --context kind-serve-app\n"
    "nox -s e2e -- --context kind-serve-app --faults --times 3 --out e2e-report",
)
@click.option("--context", required=True, help="kubectl's context, of an administrator.")
@click.option("--image", default=IMAGES[0], help="Image to deploy; nodes must have it.")
@click.option("--second-image", default=IMAGES[1], help="Image of the upgrade.")
@click.option(
    "--url",
    default="",
    show_default=False,
    help="Address of the service; by default a port of a node.",
)
@click.option("--rate", type=ABOVE_ZERO, default=60.0, help="Steady traffic, requests/s.")
@click.option("--prepared", "is_prepared", is_flag=True, help="KubeRay is installed already.")
@click.option(
    "--crds",
    multiple=True,
    default=CRDS,
    show_default="pinned, from GitHub",
    help="File or directory with the CRDs of Gateway API, GKE's policies and PodMonitoring.",
)
@click.option("--faults", "with_faults", is_flag=True, help="Break things, too.")
@click.option(
    "--only", "names", multiple=True, help="Only chapters and faults with this in their name."
)
@click.option("--times", type=COUNT, default=1, help="How often each thing is broken.")
@click.option("--outage", "outage_command", help="Command that takes the API server away.")
@click.option(
    "--component",
    "components",
    multiple=True,
    help="Component of kuberay/components on top; what it needs must be there.",
)
@click.option(
    "--gateway-class",
    default="",
    show_default=False,
    help="Also try the component gateway, and KubeRay's incremental upgrade, by this class.",
)
@click.option("--keep", is_flag=True, help="Delete nothing at the end.")
@click.option("--out", type=DIRECTORY, default=Path("e2e-report"), help="Report to write.")
def e2e(
    *,
    context: str,
    image: str,
    second_image: str,
    url: str,
    rate: float,
    is_prepared: bool,
    crds: tuple[str, ...],
    with_faults: bool,
    names: tuple[str, ...],
    times: int,
    outage_command: str | None,
    components: tuple[str, ...],
    gateway_class: str,
    keep: bool,
    out: Path,
) -> None:
    """Deploy the service on a cluster, load, scale, upgrade and break it, and print a table.

    The cluster's nodes need 4 CPUs and 10 GB of memory together, and both images. What it needs
    once, such as KubeRay, is installed and stays; the service goes at the end. Exit code 1: a
    chapter failed.
    """
    faults = list(FAULTS) if with_faults else []
    if outage_command:
        faults.append(outage(outage_command))
    check_names(names, [*CHAPTERS, INCREMENTAL, *(fault.name for fault in faults)])
    require_tools("kubectl")
    administrator = Kubectl(Shell(), context)
    administrator.check_context()
    administrator.check_reachable()
    if gateway_class:
        incremental.require_class(administrator, gateway_class)
    out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    with stopped_by_signals(), two_accounts(context), tempfile.TemporaryDirectory() as scratch:
        cluster = Cluster(context, Path(scratch) / "manifests")
        config = ServeConfig.read(packaged_config())
        story = Story(
            cluster,
            config,
            (image, second_image),
            rate,
            out,
            crds,
            components,
            only=names,
            url=url,
            gateway_class=gateway_class,
        )
        try:
            tell(story, is_prepared=is_prepared)
            if gateway_class:
                story.chapter(INCREMENTAL, partial(incremental.upgrade, story, gateway_class))
            if faults:
                break_things(story, faults, times, outcomes)
        finally:
            report.keep(story)
            if not keep:
                story.chapter("Delete", partial(surroundings.delete, story), always=True)
            report.write(story, outcomes)
    if failed := [row.step for row in story.rows if row.failed]:
        raise CheckFailedError(f"{', '.join(failed)}; {out / report.REPORT} says why")


def check_names(parts: Sequence[str], names: Sequence[str]) -> None:
    """Check that each part of a name is in one of ``names``.

    Raises:
        UserError: one is in none.
    """
    for part in parts:
        if not any(part in name for name in names):
            raise UserError(
                f"--only {part!r} is in no name of a chapter or fault; there are: "
                f"{', '.join(names)}"
            )


def tell(story: Story, *, is_prepared: bool) -> None:
    """Every chapter but the faults and the end."""
    prepare = partial(surroundings.prepare, story, is_prepared=is_prepared)
    story.chapter("Prepare", prepare, must=True)
    story.chapter("Deploy", partial(chapters.deploy, story), must=True)
    for title, chapter in CHAPTERS.items():
        story.chapter(title, partial(chapter, story))


def break_things(
    story: Story, faults: Sequence[Fault], times: int, outcomes: list[Outcome]
) -> None:
    """Each fault, so many times, on two workers at least."""
    manifest = story.manifest(story.images[1], replicas=WORKERS)
    story.roll_out(manifest)
    rollout.record(story.cluster.deployer, manifest)

    def met(fault: Fault) -> str:
        for number in range(1, times + 1):
            failures = story.out / f"{fault.name}-{number}.csv"
            outcome = meet(
                fault,
                story.cluster,
                Addresses(story.url, story.grpc),
                rate=story.rate,
                workers=WORKERS,
                failures=failures,
            )
            outcomes.append(outcome)
            announce(outcome)
        return "in the table of faults"

    for fault in faults:
        story.chapter(f"Fault: {fault.name}", partial(met, fault))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return run(e2e, arguments, name="python -m studies.e2e")


if __name__ == "__main__":
    sys.exit(main())
