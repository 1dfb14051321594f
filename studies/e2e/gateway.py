"""The component `gateway` with a controller that is there: its route, by a Gateway without TLS."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from deploy.kubectl import Document
from serve_app.errors import CheckFailedError
from studies.e2e.cluster import Addresses
from studies.e2e.story import Story

KINDS = ("Gateway", "HTTPRoute")
"""Of the component; the others are Google's."""
PORT = 80
LISTENER = {"name": "http", "protocol": "HTTP", "port": PORT}
SECONDS, POLL_SECONDS = 300.0, 1.0


@contextmanager
def applied(story: Story) -> Iterator[Addresses]:
    """Apply Gateway and route as the deploying account; they go at the end.

    Returns:
        Where the Gateway answers, once its route is accepted: both protocols at one port.

    Raises:
        CheckFailedError: that takes too long.
    """
    documents = parts(story.cluster.render("local", ["gateway"]), story.gateway_class)
    story.cluster.deployer.apply(yaml.safe_dump_all(documents, sort_keys=False))
    try:
        yield addresses(story, documents)
    finally:
        for each in documents:
            story.cluster.kubectl.change("delete", each["kind"], each["metadata"]["name"])


def parts(manifest: str, gateway_class: str) -> list[Document]:
    """Gateway and route of a manifest; the Gateway is of that class, and speaks without TLS."""
    found = [each for each in yaml.safe_load_all(manifest) if each["kind"] in KINDS]
    for each in found:
        if each["kind"] == "Gateway":
            each["spec"] = {"gatewayClassName": gateway_class, "listeners": [LISTENER]}
    return found


def addresses(story: Story, documents: list[Document]) -> Addresses:
    """Where the Gateway answers, once it has an address and the route is accepted.

    Raises:
        CheckFailedError: that takes too long.
    """
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found = {
            each["kind"]: story.cluster.kubectl.get(each["kind"], each["metadata"]["name"]) or {}
            for each in documents
        }
        known = found["Gateway"].get("status", {}).get("addresses", [])
        if known and is_accepted(found["HTTPRoute"]):
            host = known[0]["value"]
            return Addresses(f"http://{host}", f"{host}:{PORT}")
        time.sleep(POLL_SECONDS)
    raise CheckFailedError(f"no Gateway has accepted the route after {SECONDS:.0f} s")


def is_accepted(route: Document) -> bool:
    """Whether a Gateway has accepted a route and knows every Service in it."""
    parents: list[Any] = route.get("status", {}).get("parents", [])
    return any(
        {"Accepted", "ResolvedRefs"}
        <= {each["type"] for each in parent["conditions"] if each["status"] == "True"}
        for parent in parents
    )
