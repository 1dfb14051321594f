"""The chapters of the story, in their order; each leaves the cluster as it found it, or better."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from deploy import rollout
from deploy.checks import traces
from deploy.cluster import prepare_cluster
from deploy.kubectl import Document
from deploy.names import NAMESPACE, RAY_SERVICE
from deploy.shell import CommandError
from deploy.smoke import smoke
from loadtest.driver.results import Thresholds, read_summary
from loadtest.driver.scenarios import SCENARIOS
from serve_app.errors import CheckFailedError, UserError
from serve_app.runtime.processes import Command
from serve_app.serve_config import ServeConfig
from studies.drill_load import GOOD
from studies.e2e import network, permissions, scaling
from studies.e2e.cluster import DEPLOYER, Cluster, is_ready
from studies.e2e.traffic import Traffic

DEADLINE = 900.0
REFUSED_DEADLINE = 60.0
GONE = "10m"
MOST_REPLICAS = 4
"""Of the scale-out."""
ABSENT = "localhost/serve-app/serve-app:absent"
LOAD_SECONDS = 60.0
CHECKED_RATE = 20.0
"""Requests/s of an upgrade whose answers are checked, beside the steady traffic."""
SCALE_SECONDS = 1200.0
AFTER_SECONDS = 10.0
_GATEWAY = "https://github.com/kubernetes-sigs/gateway-api//config/crd"
_GKE = "https://raw.githubusercontent.com/GoogleCloudPlatform"
_POLICIES = (
    "cce161862be77c541b1b1eac8899e7012f5a9985/gateway-api/config/servicepolicies/crd/standard"
)
_MONITORING = "2ffde4ec7b7e4ca1da4e32f36b692945b78a60e4/charts/operator/crds"
CRDS = (
    f"{_GATEWAY}?ref=477d172e6ac5eccb82b65781ddb8f924afec4170",  # release 1.4.1
    f"{_GKE}/gke-networking-recipes/{_POLICIES}/gcpbackendpolicies.yaml",
    f"{_GKE}/gke-networking-recipes/{_POLICIES}/healthcheckpolicy.yaml",
    f"{_GKE}/prometheus-engine/{_MONITORING}/monitoring.googleapis.com_podmonitorings.yaml",
)
"""What GKE has and other clusters lack: kinds that the manifests use."""
POD_SECURITY = "pod-security.kubernetes.io/enforce"
LIMITS: Sequence[Document] = (
    {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "e2e"},
        "spec": {
            "hard": {
                "requests.cpu": "40",
                "requests.memory": "60Gi",
                "limits.memory": "60Gi",
                "pods": "40",
            }
        },
    },
    {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "e2e"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "8Gi"}, "min": {"cpu": "5m"}}]},
    },
)
"""What shared clusters set: a pod that names no requests and no limit of memory is refused."""
CHECKED = (("gke", ""), ("local", "gateway"), ("local", ""))
"""Overlays, and components that are not in one."""


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
    rows: list[Row] = field(default_factory=list)

    def chapter(self, title: str, tell: Callable[[], str | None], *, must: bool = False) -> None:
        """Run one; a failure is noted, and ends the story only if the rest ``must`` have it."""
        if self.only and not must and not any(part in title for part in self.only):
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
            self.config.override(autoscaling=autoscaling, cpu_target=0.2),
            self.components,
        )

    def roll_out(self, manifest: str, deadline: float = DEADLINE) -> None:
        """Apply a manifest and wait until it serves, as the deploying account."""
        rollout.apply(self.cluster.deployer, manifest)
        rollout.wait(lambda: rollout.look(self.cluster.deployer), deadline)

    def without_a_failure(self, name: str, change: Callable[[], str | None]) -> str:
        """Make a change under steady traffic; failures go to a file of that name.

        Raises:
            CheckFailedError: a request failed.
        """
        with Traffic(self.url, self.rate) as traffic:
            time.sleep(2)
            note = change()
            time.sleep(AFTER_SECONDS)
        traffic.keep_failures(self.out / f"{name}.csv")
        failed = [answer.status for answer in traffic.answers if answer.status != GOOD]
        counted = f"{len(failed)} of {len(traffic.answers):,} requests failed"
        if failed:
            by_status = ", ".join(f"{failed.count(each)} x {each}" for each in sorted({*failed}))
            raise CheckFailedError(f"{counted}: {by_status}")
        return "; ".join(filter(None, (counted, note)))


def prepare(story: Story, *, is_prepared: bool) -> str | None:
    """Namespace, priorities, KubeRay, token; the deploying account's role; limits, as many have."""
    if not is_prepared:
        prepare_cluster(story.cluster.kubectl.shell, story.cluster.context)
    namespace = story.cluster.everywhere.get("namespace", NAMESPACE) or {"metadata": {}}
    level = namespace["metadata"].get("labels", {}).get(POD_SECURITY)
    if level != "restricted":
        raise CheckFailedError(f"pod security of namespace {NAMESPACE} is {level}, not restricted")
    for document in LIMITS:
        story.cluster.kubectl.apply(json.dumps(document))
    permissions.grant(story.cluster)
    return f"{permissions.check()}; pod security {level}, a ResourceQuota and a LimitRange"


def deploy(story: Story) -> str:
    """The first start, from apply until the right model answers."""
    first = story.manifest(story.images[0], replicas=1)
    began = time.monotonic()
    story.roll_out(first)
    ready = time.monotonic() - began
    story.url = story.url or story.cluster.expose()
    smoke(lambda: story.url, DEADLINE)
    rollout.record(story.cluster.deployer, first)
    return f"serves after {ready:.0f} s; {story.url} answers its own sample"


def scale(story: Story) -> str:
    """1 to N to 1 under Locust, with its picture."""
    return scaling.scale_out_and_in(
        story.cluster,
        story.url,
        story.out / "scale",
        replicas=MOST_REPLICAS,
        seconds=SCALE_SECONDS,
    )


def load(story: Story) -> str:
    """Locust checks every answer for a minute."""
    with checked_load(story, "load", story.rate, LOAD_SECONDS) as locust:
        locust.wait_until(lambda: locust.exit_code is not None, LOAD_SECONDS * 2)
    return judged(story, "load")


@contextmanager
def checked_load(story: Story, name: str, rate: float, seconds: float) -> Iterator[Command]:
    """Locust at a fixed rate; its files begin with ``name``. It ends early with the context."""
    users = SCENARIOS["open-loop"].users
    command = [
        *(sys.executable, "-m", "serve_app", "load", "open-loop", f"--host={story.url}"),
        *(f"--user-rate={rate / users:g}", f"--seconds={seconds:.0f}", "--model-dir="),
        *("--", f"--csv={story.out / name}"),
    ]
    with Command(command, log=story.out / f"{name}.log") as process:
        yield process


def judged(story: Story, name: str) -> str:
    """What a checked load found.

    Raises:
        CheckFailedError: a request failed, or was answered wrongly.
    """
    found = read_summary(story.out / name)
    if broken := Thresholds().broken_by(found):
        raise CheckFailedError("; ".join(broken))
    return f"Locust: {found}; right answers by model {found.answered_by_version}"


def change_in_place(story: Story) -> str:
    """One replica more at least, by a change of the Serve config under traffic."""

    def change() -> str:
        manifest = story.manifest(story.images[0], replicas=2)
        story.roll_out(manifest)
        took = story.cluster.wait_until_whole(2, DEADLINE)
        rollout.record(story.cluster.deployer, manifest)
        return f"whole after {took:.0f} s more, same Ray cluster"

    before = story.cluster.active()
    note = story.without_a_failure("change-in-place", change)
    if story.cluster.active() != before:
        raise CheckFailedError("a change of the Serve config made a new Ray cluster")
    return note


def upgrade(story: Story) -> str:
    """Another image under traffic, until the old Ray cluster has gone."""

    def change() -> str:
        old, began = story.cluster.active(), time.monotonic()
        manifest = story.manifest(story.images[1], replicas=2)
        story.roll_out(manifest)
        serves = time.monotonic() - began
        wait = ("wait", "--for=delete", f"--timeout={GONE}")
        story.cluster.kubectl.read(*wait, f"raycluster/{old}")
        story.cluster.kubectl.read(*wait, "pods", f"--selector=ray.io/cluster={old}")
        rollout.record(story.cluster.deployer, manifest)
        gone = time.monotonic() - began
        return f"the new one serves after {serves:.0f} s, the old one is gone after {gone:.0f} s"

    with checked_load(story, "upgrade", CHECKED_RATE, DEADLINE * 3):
        note = story.without_a_failure("upgrade", change)
    return f"{note}; {judged(story, 'upgrade')}"


def roll_back(story: Story) -> str:
    """An image that does not exist: noticed, and taken back under traffic."""

    def change() -> str:
        began = time.monotonic()
        try:
            story.roll_out(story.manifest(ABSENT, replicas=2), REFUSED_DEADLINE)
        except CheckFailedError as error:
            noticed = str(error)
        else:
            raise CheckFailedError(f"{ABSENT} was rolled out")
        rollout.roll_back(story.cluster.deployer)
        rollout.wait(lambda: rollout.look(story.cluster.deployer), DEADLINE)
        return f"back after {time.monotonic() - began:.0f} s; said: {noticed}"

    return story.without_a_failure("roll-back", change)


def check_spans(story: Story) -> str:
    """`rollout traces` tells the truth where tracing is off."""
    try:
        said = traces(story.cluster.deployer)
    except CheckFailedError as error:
        return f"refused, as it must without Google Cloud: {str(error).splitlines()[-1].strip()}"
    return "; ".join(said)


def check_network(story: Story) -> str:
    """Only predictions are answered from elsewhere."""
    return network.check(story.cluster, story.images[0])


def check_manifests(story: Story) -> str:
    """The deploying account may apply every overlay and component, and no field is unknown."""
    for each in story.crds:
        story.cluster.everywhere.change(
            *("apply", "--server-side", "--force-conflicts"),
            f"--{'kustomize' if '?ref=' in each else 'filename'}={each}",
        )
    for overlay, component in CHECKED:
        what = f"overlay {overlay}{component and f' with {component}'}"
        story.cluster.deployer.change(
            *("apply", "--server-side", "--dry-run=server", "--validate=strict"),
            *("--force-conflicts", "--filename=-"),
            stdin=story.cluster.render(overlay, [component] if component else []),
            note=what,
        )
    return f"{len(CHECKED)} combinations of overlays and components accepted"


def delete(story: Story) -> str:
    """Everything of the service goes, in order; the cluster itself stays prepared."""
    began = time.monotonic()
    kubectl = story.cluster.kubectl
    kubectl.change("delete", "rayservice", RAY_SERVICE, "--ignore-not-found", f"--timeout={GONE}")
    kubectl.read(
        "wait", "--for=delete", "pods", "--selector=ray.io/is-ray-node=yes", "--timeout=5m"
    )
    rest = "services,serviceaccounts,networkpolicies,poddisruptionbudgets,configmaps"
    part = "--selector=app.kubernetes.io/part-of=serve-app"
    kubectl.change("delete", rest, part)
    kubectl.change("delete", "rolebinding", DEPLOYER, "--ignore-not-found")
    for document in LIMITS:
        kubectl.change("delete", document["kind"], document["metadata"]["name"])
    left = [pod["metadata"]["name"] for pod in kubectl.list("pods", "") if is_ready(pod)]
    if left:
        raise CheckFailedError(f"pods are left in {NAMESPACE}: {', '.join(left)}")
    return f"nothing is left after {time.monotonic() - began:.0f} s"


def keep(story: Story) -> None:
    """Keep events and states beside the table, for whoever reads it later."""
    for name, command in {
        "events.txt": ("get", "events", "--sort-by=.lastTimestamp"),
        "status.json": ("get", "rayservices,rayclusters,pods,services", "-ojson"),
    }.items():
        try:
            text = story.cluster.kubectl.read(*command)
        except CommandError as error:
            text = str(error)
        (story.out / name).write_text(text, encoding="utf-8")
    versions = story.cluster.everywhere.read("version", "-ojson")
    (story.out / "versions.json").write_text(versions, encoding="utf-8")
