"""KubeRay's incremental upgrade, seen from our Service and from the Gateway that KubeRay makes."""

import time
from contextlib import ExitStack
from typing import Any

import yaml

from deploy.kubectl import Kubectl
from deploy.names import RAY_SERVICE
from deploy.shell import CommandError
from serve_app.errors import CheckFailedError, UserError
from studies.drill_load import Result, by_status
from studies.e2e.story import AFTER_SECONDS, DEADLINE, Story
from studies.e2e.traffic import Traffic

GATEWAY = f"{RAY_SERVICE}-gateway"
OPTIONS = {"maxSurgePercent": 50, "stepSizePercent": 25, "intervalSeconds": 10}
"""Half of the old replicas more, and a quarter of the requests to the new cluster every 10 s."""
POLL_SECONDS = 1.0


def upgrade(story: Story, gateway_class: str) -> str:
    """Another image by small steps, under traffic by both ways, and back to the usual strategy.

    Returns:
        What failed on each way, and how long it took.

    Raises:
        CheckFailedError: KubeRay's Gateway gets no address, or the upgrade does not end.
    """
    first, second = (
        with_gateway(story.manifest(image, replicas=2), gateway_class) for image in story.images
    )
    story.roll_out(first)
    ways = {"our Service": story.url, "KubeRay's Gateway": address(story)}
    began = time.monotonic()
    with ExitStack() as stack:
        traffic = {
            name: stack.enter_context(Traffic(url, story.rate)) for name, url in ways.items()
        }
        story.roll_out(second)
        took = time.monotonic() - began
        time.sleep(AFTER_SECONDS)
    results = {name: Result.of(name, each.answers, began=0) for name, each in traffic.items()}
    for name, each in traffic.items():
        each.keep_failures(story.out / f"incremental, {name}.csv")
    story.roll_out(story.manifest(story.images[1], replicas=2))
    said = (
        f"by {name} {by_status(result.failed)} of {result.requests:,} failed, slowest answer "
        f"{result.slowest:.1f} s"
        for name, result in results.items()
    )
    return f"{'; '.join(said)}; serves after {took:.0f} s"


def require_class(kubectl: Kubectl, gateway_class: str) -> None:
    """Check that the cluster has a class of Gateways.

    Raises:
        UserError: it has not, or knows no Gateways.
    """
    try:
        known = [name.partition("/")[2] for name in kubectl.names("gatewayclasses")]
    except CommandError as error:
        raise UserError(
            f"--gateway-class {gateway_class}: the cluster knows no Gateways; install the "
            "controller that you want to try, with the CRDs of Gateway API"
        ) from error
    if gateway_class not in known:
        found = ", ".join(known) or "none"
        raise UserError(f"--gateway-class {gateway_class}: the cluster has {found}")


def with_gateway(manifest: str, gateway_class: str) -> str:
    """A manifest whose RayService is upgraded step by step, by a Gateway of that class."""
    documents: list[Any] = list(yaml.safe_load_all(manifest))
    for document in documents:
        if document["kind"] == "RayService":
            document["spec"]["upgradeStrategy"] = {
                "type": "NewClusterWithIncrementalUpgrade",
                "clusterUpgradeOptions": {**OPTIONS, "gatewayClassName": gateway_class},
            }
    return yaml.safe_dump_all(documents, sort_keys=False)


def address(story: Story) -> str:
    """URL of KubeRay's Gateway, once it answers.

    Raises:
        CheckFailedError: it has none in time.
    """
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        gateway = story.cluster.kubectl.get("gateway", GATEWAY) or {}
        for each in gateway.get("status", {}).get("addresses", []):
            return f"http://{each['value']}"
        time.sleep(POLL_SECONDS)
    raise CheckFailedError(f"the Gateway {GATEWAY} has no address after {DEADLINE:.0f} s")
