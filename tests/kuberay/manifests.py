"""Renders the overlays as kubectl does, for the tests."""

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.names import NAMESPACE, PACKAGED_MANIFESTS, RAY_SERVICE

Document = dict[str, Any]

OVERLAYS = ("overlays/gke", "overlays/local")
OPTIONAL = ("gateway", "gcs-fault-tolerance")
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


def pod_labels(group: Document) -> Document:
    """Labels of a head's or worker group's pods, with those of KubeRay that we select by."""
    node_type = "worker" if "groupName" in group else "head"
    own: Document = group["template"]["metadata"]["labels"]
    return {"ray.io/node-type": node_type, "ray.io/is-ray-node": "yes", **own}


def selects(selector: Document, labels: Document) -> bool:
    """Whether equality-based ``selector`` selects pods with ``labels``."""
    return selector.items() <= labels.items()
