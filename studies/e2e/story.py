"""What the chapters of an end-to-end run share: the cluster, what is applied, and the report."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from deploy import rollout
from serve_app.errors import UserError
from serve_app.serve_config import ServeConfig
from studies.e2e.cluster import Cluster
from studies.e2e.traffic import Traffic, require_no_failure

DEADLINE = 900.0
MOST_REPLICAS = 4
"""Of the scale-out."""
AFTER_SECONDS = 10.0


@dataclass(frozen=True)
class Row:
    """What a chapter showed."""

    step: str
    seconds: float
    notes: str
    failed: bool = False


@dataclass
class Story:
    """What the chapters share.

    Attributes:
        cluster: where it happens.
        config: the Serve config to start from.
        images: the first image, and the one of the upgrade.
        rate: requests/s of the steady traffic.
        out: directory of the report.
        crds: files and kustomizations with the kinds that GKE has and other clusters lack.
        components: components on top of the overlay `local`.
        only: parts of names of chapters; others are left out, but those that the rest needs.
        url: address of the service; found out when it is empty.
        grpc: host and port of its gRPC, found out with it.
        gateway_class: class of Gateways to try; empty for none.
    """

    cluster: Cluster
    config: ServeConfig
    images: tuple[str, str]
    rate: float
    out: Path
    crds: Sequence[str]
    components: Sequence[str] = ()
    only: Sequence[str] = ()
    url: str = ""
    grpc: str = ""
    gateway_class: str = ""
    rows: list[Row] = field(default_factory=list)

    def chapter(
        self,
        title: str,
        tell: Callable[[], str | None],
        *,
        must: bool = False,
        always: bool = False,
    ) -> None:
        """Run one; a failure is noted.

        Args:
            title: its name in the report.
            tell: runs it; returns notes.
            must: the rest needs it: it is never left out, and its failure ends the story.
            always: it is never left out.
        """
        if self.only and not (must or always or any(part in title for part in self.only)):
            return
        click.echo(f"\n## {title}")
        began = time.monotonic()
        try:
            notes, failed = tell() or "", False
        except UserError as error:
            if must:
                raise
            notes, failed = str(error), True
        self.rows.append(Row(title, time.monotonic() - began, notes, failed))
        click.echo(f"  {'FAILED: ' if failed else ''}{notes or 'done'}")

    def manifest(self, image: str, *, replicas: int) -> str:
        """What is applied: one image, and at least so many replicas."""
        autoscaling = {
            "min_replicas": replicas,
            "max_replicas": MOST_REPLICAS,
            "downscale_delay_s": 15,
        }
        # Nodes may share few cores: a low target lets a load be felt that they can carry.
        return self.cluster.manifest(
            image,
            self.config.override(autoscaling=autoscaling, cpu_target=0.1),
            self.components,
        )

    def roll_out(self, manifest: str, deadline: float = DEADLINE) -> None:
        """Apply a manifest and wait until it serves, as the deploying account."""
        rollout.apply(self.cluster.deployer, manifest)
        rollout.wait(lambda: rollout.look(self.cluster.deployer), deadline)

    def without_a_failure(self, name: str, change: Callable[[], str | None]) -> str:
        """Make a change under steady traffic; failures go to a file of that name.

        Raises:
            CheckFailedError: a request or a call failed.
        """
        with Traffic(self.url, self.rate, self.grpc) as traffic:
            time.sleep(2)
            note = change()
            time.sleep(AFTER_SECONDS)
        traffic.keep_failures(self.out / f"{name}.csv")
        said = require_no_failure({"requests": traffic.answers, "gRPC calls": traffic.calls})
        return "; ".join(filter(None, (said, note)))
