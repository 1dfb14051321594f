"""Every protocol, asked from where clients are: another namespace, another network, a Gateway."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.names import NAMESPACE, PUBLIC_SERVICE
from loadtest.driver.checks import sample_rows
from serve_app.client import ServiceClient
from serve_app.errors import CheckFailedError
from serve_app.serve_config import DEFAULT_GRPC_PORT
from studies.e2e import asking, gateway
from studies.e2e.clients import foreign_namespace, run_once
from studies.e2e.story import Story

ELSEWHERE = "e2e-clients"
"""Namespace of clients; another one than `studies.e2e.network`'s, which may still be going."""
IN_A_POD, BESIDE, AT_A_GATEWAY = "another namespace", "beside the cluster", "a Gateway"
ROWS = 6
MEMORY = "512Mi"
"""Of the client in a pod, which imports what the service does."""

Rows = Sequence[Mapping[str, Any]]


def check(story: Story) -> str:
    """Ask in every protocol, in every way; returns a note.

    Raises:
        CheckFailedError: an answer is not that of ``/predict/``.
    """
    with ServiceClient(story.url) as client:
        known, _ = sample_rows(client.card(), Path())
    rows = [row.instance for row in known[:: max(1, len(known) // ROWS)]][:ROWS]
    found = {
        IN_A_POD: ask_in_a_pod(story, rows),
        BESIDE: asking.ask(story.url, story.grpc, rows),
    }
    if story.gateway_class:
        with gateway.applied(story) as addresses:
            found[AT_A_GATEWAY] = asking.ask(*addresses, rows)
    return verdict(found)


def ask_in_a_pod(story: Story, rows: Rows) -> dict[str, str]:
    """Ask through the public Service, by its name, in a pod of another namespace."""
    script = Path(asking.__file__).read_text(encoding="utf-8")
    host = f"{PUBLIC_SERVICE}.{NAMESPACE}"
    arguments = (f"http://{host}", f"{host}:{DEFAULT_GRPC_PORT}", json.dumps(rows))
    with foreign_namespace(story.cluster, ELSEWHERE) as outside:
        printed = run_once(outside, story.images[0], script, arguments, memory=MEMORY)
    found: dict[str, str] = json.loads(printed.splitlines()[-1])
    return found


def verdict(found: Mapping[str, Mapping[str, str]]) -> str:
    """What the answers say, by the way that they were asked for.

    Raises:
        CheckFailedError: one is wrong.
    """
    wrong = [
        f"{way}, {call}: {problem}"
        for way, problems in found.items()
        for call, problem in problems.items()
        if problem
    ]
    if wrong:
        raise CheckFailedError("; ".join(wrong))
    ways = "; ".join(f"from {way} {len(problems)}" for way, problems in found.items())
    calls = ", ".join(next(iter(found.values())))
    return f"answered as /predict/: {ways} ({calls})"
