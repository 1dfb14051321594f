"""What the deploying account may do is its role: no less, and nothing more."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from deploy.gke.resources import DEPLOY_RBAC
from deploy.kubectl import Kubectl
from deploy.names import NAMESPACE
from deploy.shell import Shell
from serve_app.errors import CheckFailedError
from studies.e2e.cluster import DEPLOYER, Cluster

EVERYBODY = (".authorization.k8s.io", ".authentication.k8s.io")
"""Groups of reviews: each account may ask what it may do."""
ELSEWHERE = "default"
PLACES = (NAMESPACE, ELSEWHERE)

Right = tuple[str, str]
"""Resource with its group, and verb."""


def grant(cluster: Cluster) -> None:
    """Give the role to the deploying account of this run, as `serve-app gke setup` does."""
    cluster.everywhere.apply(DEPLOY_RBAC.read_text(encoding="utf-8"))
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": DEPLOYER},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": role()["metadata"]["name"],
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": DEPLOYER}],
    }
    cluster.kubectl.apply(json.dumps(binding))


def role() -> Mapping[str, Any]:
    """The deploying job's role."""
    found: Mapping[str, Any] = yaml.safe_load(DEPLOY_RBAC.read_text(encoding="utf-8"))
    return found


def check() -> str:
    """Compare what the API server lets the account do with its role; returns a note.

    Raises:
        CheckFailedError: it may do more, or less.
    """
    granted = set(rights_of(role()["rules"]))
    here, elsewhere = (
        set(read_rights(kubectl.read("auth", "can-i", "--list", "--no-headers")))
        for kubectl in (Kubectl(Shell(), DEPLOYER, namespace=each) for each in PLACES)
    )
    problems = [f"more than its role: {verb} {what}" for what, verb in sorted(here - granted)]
    problems += [f"less than its role: {verb} {what}" for what, verb in sorted(granted - here)]
    problems += [f"in namespace {ELSEWHERE}: {verb} {what}" for what, verb in sorted(elsewhere)]
    if problems:
        raise CheckFailedError(f"the deploying account may do {'; '.join(problems)}")
    return f"{len(granted)} rights in {NAMESPACE}, none in {ELSEWHERE}"


def read_rights(printed: str) -> Iterator[Right]:
    """What ``kubectl auth can-i --list`` has printed, without what every account may."""
    for resource, verbs in re.findall(r"^(\S+) +\[\] +\[\] +\[(.*)\]$", printed, re.MULTILINE):
        if not resource.endswith(EVERYBODY):
            yield from ((resource, verb) for verb in verbs.split())


def rights_of(rules: Sequence[Mapping[str, Any]]) -> Iterator[Right]:
    """What rules of a role grant."""
    for rule in rules:
        for group in rule["apiGroups"]:
            for name in rule["resources"]:
                # As kubectl writes them: statefulsets.apps, statefulsets.apps/scale, pods/log.
                resource, slash, part = name.partition("/")
                full = f"{resource}.{group}".rstrip(".") + slash + part
                yield from ((full, verb) for verb in rule["verbs"])
