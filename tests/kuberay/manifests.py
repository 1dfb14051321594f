"""Renders the overlays as kubectl does, for the tests."""

import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.names import NAMESPACE, PACKAGED_MANIFESTS, RAY_SERVICE
from tests.kuberay.operator_labels import OPERATOR_POD, RAY_PODS

Document = dict[str, Any]

OVERLAYS = ("overlays/gke", "overlays/local")
OPTIONAL = ("gateway", "gcs-fault-tolerance")
BOTH = pytest.mark.parametrize("directory", OVERLAYS)
SERVE_PORT = 8000
GRPC_PORT = 9000
"""Components that no overlay has; rendered on top of the base."""


@functools.cache
def rendered(directory: str) -> tuple[Document, ...]:
    """Every document of a kustomization below kuberay/."""
    return _build(PACKAGED_MANIFESTS / directory)


def rendered_with(component: str, scratch: Path) -> tuple[Document, ...]:
    """The base with the release and a component."""
    here = _copy(scratch)
    kustomization = {
        "namespace": NAMESPACE,
        "resources": ["../base"],
        "components": ["../release", f"../components/{component}"],
    }
    (here / "scratch").mkdir()
    (here / "scratch" / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return _build(here / "scratch")


def rendered_release(release: str, scratch: Path) -> tuple[Document, ...]:
    """The overlay gke with another release than the committed one."""
    here = _copy(scratch)
    (here / "release" / "kustomization.yaml").write_text(release)
    return _build(here / "overlays" / "gke")


def _copy(scratch: Path) -> Path:
    # Kustomize takes relative paths only, and from one file system tree.
    here = scratch / "kuberay"
    shutil.copytree(PACKAGED_MANIFESTS, here)
    return here


def _build(directory: Path) -> tuple[Document, ...]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which renders the manifests, is not installed")
    command = ["kubectl", "kustomize", str(directory)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return tuple(yaml.safe_load_all(built.stdout))


def one(documents: tuple[Document, ...], kind: str, name: str) -> Document:
    """The only document of a kind with a name."""
    (found,) = [
        document
        for document in documents
        if document["kind"] == kind and document["metadata"]["name"] == name
    ]
    return found


class RayService:
    """What the tests ask of a rendered RayService."""

    def __init__(self, documents: tuple[Document, ...]) -> None:
        self.document = one(documents, "RayService", RAY_SERVICE)
        self.spec: Document = self.document["spec"]
        self.cluster: Document = self.spec["rayClusterConfig"]
        self.head: Document = self.cluster["headGroupSpec"]
        (self.workers,) = self.cluster["workerGroupSpecs"]
        self.head_pod: Document = self.head["template"]["spec"]
        self.worker_pod: Document = self.workers["template"]["spec"]
        (self.head_container,) = self.head_pod["containers"]
        (self.worker_container,) = self.worker_pod["containers"]
        self.serve_config: Document = yaml.safe_load(self.spec["serveConfigV2"])
        (application,) = self.serve_config["applications"]
        (self.deployment,) = application["deployments"]

    @property
    def cpus_per_worker(self) -> int:
        """CPUs of a worker as KubeRay and Ray's autoscaler count them."""
        resources = self.worker_container["resources"]
        # A limit would win over the request.
        assert "cpu" not in resources["limits"]
        return int(self.workers["rayStartParams"].get("num-cpus", resources["requests"]["cpu"]))


def pod_labels(documents: tuple[Document, ...]) -> dict[str, dict[str, str]]:
    """Labels that pods will have, by kind: Ray's as KubeRay merges them, and the operator's."""
    service = RayService(documents)
    own = {
        "head": service.head["template"]["metadata"]["labels"],
        "worker": service.workers["template"]["metadata"]["labels"],
    }
    ray = {kind: {**labels, **own[kind]} for kind, labels in RAY_PODS.items()}
    return {**ray, "operator": OPERATOR_POD}


def selectors(documents: tuple[Document, ...]) -> Iterator[tuple[str, Document]]:
    """Every selector of pods in every document, by the place where it is."""
    for document in documents:
        name = f"{document['kind']} {document['metadata']['name']}"
        for path, key, value in _walk(document, ()):
            if key in ("podSelector", "labelSelector") or (key == "selector" and not path[2:]):
                yield f"{name}: {'.'.join(path)}", value


def _walk(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    pairs = node.items() if isinstance(node, dict) else []
    if isinstance(node, list):
        pairs = [(str(position), item) for position, item in enumerate(node)]
    for key, value in pairs:
        yield (*path, key), key, value
        yield from _walk(value, (*path, key))


def selected(selector: Document, pods: dict[str, dict[str, str]]) -> set[str]:
    """The kinds of ``pods`` that a selector of any form selects."""
    terms = selector.get("matchExpressions", [])
    assert all(term["operator"] == "Exists" for term in terms)
    equal = selector.get("matchLabels", {} if terms else selector)
    return {
        kind
        for kind, labels in pods.items()
        if equal.items() <= labels.items() and all(term["key"] in labels for term in terms)
    }
