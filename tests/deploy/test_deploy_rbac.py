"""What the deploying job may do in the cluster is what it does, and what the manifests contain."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.gke.resources import DEPLOY_RBAC
from deploy.names import NAMESPACE
from serve_app.cli.main import main
from tests.deploy import status_documents
from tests.deploy.fake_tools import FakeTools
from tests.kuberay.manifests import OPTIONAL, OVERLAYS, rendered, rendered_with

Right = tuple[str, str]
"""Resource with its group, and verb."""


def role() -> dict[str, Any]:
    (role,) = yaml.safe_load_all(DEPLOY_RBAC.read_text(encoding="utf-8"))
    return dict(role)


def granted() -> set[Right]:
    return {
        (f"{resource}.{group}".rstrip("."), verb)
        for rule in role()["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def resource_of(document: dict[str, Any]) -> str:
    """Plural of a kind, with its group, as in ``kubectl get``."""
    plural = re.sub(r"(?<![aeiou])ys$", "ies", f"{document['kind'].lower()}s")
    group, _, _version = document["apiVersion"].rpartition("/")
    return f"{plural}.{group}".rstrip(".")


def needed(command: list[str], stdin: str) -> Iterator[Right]:
    """Rights that kubectl needs for a command."""
    full_names = {name.partition(".")[0]: name for name, _ in granted()}
    match [word for word in command[1:] if not word.startswith("-")]:
        case ["get"]:
            # Every account may ask for the version.
            assert "--raw=/version" in command
        case ["get", kinds, *names]:
            for kind in kinds.split(","):
                plural = kind if kind.endswith("s") else f"{kind}s"
                yield full_names.get(plural, plural), "get" if names else "list"
        case ["delete", kind, _]:
            # It waits until the object is gone.
            for verb in ("get", "list", "watch", "delete"):
                yield full_names[f"{kind}s"], verb
        case ["logs", *_]:
            yield from (("pods", "list"), ("pods/log", "get"))
        case ["exec", *_]:
            yield from (("pods", "get"), ("pods/exec", "create"), ("pods/exec", "get"))
        case ["apply"]:
            for document in yaml.safe_load_all(stdin):
                yield from ((resource_of(document), verb) for verb in ("get", "create", "patch"))
        case words:
            raise AssertionError(words)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Rendered by the real kubectl, before the recording one takes its place."""
    file = tmp_path / "manifest.yaml"
    file.write_text(yaml.safe_dump_all(rendered("overlays/gke")))
    return file


@pytest.fixture
def everything(
    manifest: Path, tools: FakeTools, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, Any]]:
    """Each kubectl call of each command of the rollout."""
    monkeypatch.setattr("deploy.rollout.SETTLE_SECONDS", 0.0)
    tools.update(objects={"rayservice/classifier": status_documents.timed_out()})
    rollout = ["k8s", "rollout"]
    assert main([*rollout, "apply", str(manifest)]) == 0
    tools.update(
        objects=status_documents.active(),
        pods=status_documents.ray_pods(status_documents.OLD_CLUSTER)
        | {"ray.io/is-ray-node=yes": ["pod/h"]},
    )
    assert main(["k8s", "status"]) == 0
    assert main([*rollout, "wait"]) == 0
    assert main([*rollout, "traces"]) == 0
    assert main([*rollout, "record", str(manifest)]) == 0
    assert main(["k8s", "diagnose"]) == 0
    assert main([*rollout, "smoke", "--deadline=0"]) == 1
    assert main([*rollout, "rollback", "--deadline=0"]) == 1
    return tools.calls


def test_every_command_of_the_rollout_is_allowed(everything: list[dict[str, Any]]) -> None:
    """No forbidden at two in the morning, and no half of a diagnosis."""
    rights = {right for call in everything for right in needed(call["argv"], call["stdin"])}

    assert ("services", "list") in rights
    assert rights <= granted()
    assert {right for right in granted() if right[1] not in {"get", "create", "patch"}} <= rights


def test_every_manifest_may_be_applied_and_nothing_else(tmp_path: Path) -> None:
    """Overlays, optional components, the ConfigMap that a rollback reads; in one namespace."""
    documents = [document for overlay in OVERLAYS for document in rendered(overlay)]
    for component in OPTIONAL:
        documents += rendered_with(component, tmp_path / component)
    verbs = [{right[0] for right in granted() if right[1] == verb} for verb in ("create", "patch")]

    assert role()["kind"] == "Role"
    assert role()["metadata"]["namespace"] == NAMESPACE
    applied = {resource_of(document) for document in documents}
    assert verbs[1] == applied | {"configmaps"}
    assert verbs[0] == verbs[1] | {"pods/exec"}
    assert verbs[1] <= {right[0] for right in granted() if right[1] == "get"}
