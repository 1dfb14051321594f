"""The chapters between the first deployment and the faults, in their order."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from deploy import rollout
from deploy.checks import traces
from deploy.smoke import smoke
from loadtest.driver.grpc_channel import grpc_address
from loadtest.driver.results import Thresholds, read_summary
from loadtest.driver.scenarios import SCENARIOS
from serve_app.client import ServiceClient
from serve_app.errors import CheckFailedError
from serve_app.runtime.processes import Command
from studies.e2e import network, protocols, scaling
from studies.e2e.story import DEADLINE, MOST_REPLICAS, Story
from studies.e2e.traffic import require_no_failure, steady_calls

REFUSED_DEADLINE = 60.0
GONE = "10m"
ABSENT = "localhost/serve-app/serve-app:absent"
LOAD_SECONDS = 60.0
CHECKED_RATE = 20.0
"""Requests/s of an upgrade whose answers are checked, beside the steady traffic."""
SCALE_SECONDS = 1200.0


def deploy(story: Story) -> str:
    """The first start, from apply until the right model answers."""
    first = story.manifest(story.images[0], replicas=1)
    began = time.monotonic()
    story.roll_out(first)
    ready = time.monotonic() - began
    story.url, story.grpc = (
        (story.url, grpc_address(story.url)) if story.url else story.cluster.expose()
    )
    smoke(lambda: story.url, DEADLINE)
    rollout.record(story.cluster.deployer, first)
    return f"serves after {ready:.0f} s; {story.url} answers its own sample"


def scale(story: Story) -> str:
    """1 to N to 1 under Locust, with its picture."""
    with ServiceClient(story.url) as client:
        calls = steady_calls(client.card(), story.grpc, story.rate)
    with calls:
        note = scaling.scale_out_and_in(
            story.cluster,
            story.url,
            story.out / "scale",
            replicas=MOST_REPLICAS,
            seconds=SCALE_SECONDS,
        )
    return f"{require_no_failure({'gRPC calls': calls.answers})}; {note}"


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


def check_protocols(story: Story) -> str:
    """Every protocol gives the answers of ``/predict/``, from wherever it is asked."""
    return protocols.check(story)
