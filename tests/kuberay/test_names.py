"""The names in deploy/names.py are those in the manifests, which cannot import them."""

import re
from typing import Any

import yaml

from deploy import names

ROOT = names.PACKAGED_MANIFESTS

Document = dict[str, Any]


def documents(*folders: str) -> list[Document]:
    """Kubernetes objects in the manifests, without kustomize's own and without patches."""
    found: list[Any] = [
        document
        for folder in folders
        for file in sorted((ROOT / folder).rglob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
    ]
    return [
        document
        for document in found
        if isinstance(document, dict) and "kustomize" not in document["apiVersion"]
    ]


def the(kind: str, folder: str = "base") -> Document:
    (document,) = [each for each in documents(folder) if each["kind"] == kind]
    return document


def test_objects_have_the_names_that_the_rollout_asks_for() -> None:
    """RayService, accounts, Secret, namespace, public Service and operator are found."""
    service = the("RayService")
    groups = service["spec"]["rayClusterConfig"]
    accounts = [each["metadata"]["name"] for each in documents("base") if _is_account(each)]
    used = [
        group["template"]["spec"]["serviceAccountName"]
        for group in (groups["headGroupSpec"], *groups["workerGroupSpecs"])
    ]

    assert service["metadata"]["name"] == names.RAY_SERVICE
    assert groups["authOptions"] == {"mode": "token", "secretName": names.AUTH_SECRET}
    assert tuple(accounts) == tuple(used) == names.SERVICE_ACCOUNTS
    assert the("Service")["metadata"]["name"] == names.PUBLIC_SERVICE
    assert the("Namespace", "prerequisites")["metadata"]["name"] == names.NAMESPACE
    assert (
        f"metadata.name: {names.KUBERAY_NAMESPACE}\n"
        in (ROOT / "base" / "network-policy.yaml").read_text()
    )
    for folder in ("base", "overlays/gke", "overlays/local"):
        kustomization = yaml.safe_load((ROOT / folder / "kustomization.yaml").read_text())
        assert kustomization["namespace"] == names.NAMESPACE


def _is_account(document: Document) -> bool:
    return bool(document["kind"] == "ServiceAccount")


def test_kubectl_lines_in_the_documents_use_these_names() -> None:
    """A command copied from there reaches the objects that the manifests make."""
    project = ROOT.parent
    files = [project / "README.md", *project.glob("docs/**/*.md"), *ROOT.glob("**/*.md")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    commands = re.findall(r"kubectl -n (\S+) (?:port-forward|get) (\S+)(?: (\S+))?", text)
    assert {namespace for namespace, *_ in commands} == {names.NAMESPACE}
    assert {name for _, *named in commands for name in named if "/" in name} == {
        f"service/{names.PUBLIC_SERVICE}",
        f"service/{names.RAY_SERVICE}-head-svc",
    }
    assert {name for _, kind, name in commands if kind == "secret"} == {names.AUTH_SECRET}
    assert f".data.{names.AUTH_SECRET_KEY}" in text
