"""What is applied, and as whom: with the real kubectl, without a cluster."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.names import RAY_SERVICE
from serve_app.serve_config import ServeConfig, packaged_config
from studies.e2e.cluster import DEPLOYER, Cluster, two_accounts
from studies.e2e.permissions import read_rights, rights_of
from studies.e2e.surroundings import CRDS

DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A context `there`, with a token."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "there", "context": {"cluster": "c", "user": "u"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


def test_a_second_context_acts_as_the_deploying_account(kubeconfig: Path) -> None:
    """With the administrator's credentials, in a file that goes again and only the owner reads."""
    with two_accounts("there"):
        file = Path(os.environ["KUBECONFIG"])
        assert file != kubeconfig
        assert file.parent.stat().st_mode & 0o077 == 0
        printed = subprocess.run(
            ["kubectl", "config", "view", "--raw", "--minify", f"--context={DEPLOYER}", "-ojson"],
            check=True,
            capture_output=True,
        ).stdout
        (user,) = json.loads(printed)["users"]
        assert user["user"] == {"as": DEPLOYER, "token": "secret"}
    assert os.environ["KUBECONFIG"] == str(kubeconfig)
    assert not file.exists()


@pytest.mark.parametrize("image", ["localhost:5000/a/b:first", f"localhost/a/b@{DIGEST}"])
def test_a_manifest_has_the_image_and_the_config(image: str, tmp_path: Path) -> None:
    """In each Ray container, by tag or by digest, in a directory as a user's own."""
    config = ServeConfig.read(packaged_config()).override(autoscaling={"min_replicas": 3})
    manifest = Cluster("there", tmp_path / "manifests").manifest(image, config)
    (service,) = [
        each
        for each in yaml.safe_load_all(manifest)
        if each["metadata"]["name"] == RAY_SERVICE and each["kind"] == "RayService"
    ]
    cluster = service["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert {g["template"]["spec"]["containers"][0]["image"] for g in groups} == {image}
    assert "min_replicas: 3" in service["spec"]["serveConfigV2"]
    assert cluster["workerGroupSpecs"][0]["minReplicas"] == 3


def test_rights_of_a_role_read_as_kubectl_prints_them() -> None:
    """So that the comparison finds each of them, and leaves out what everybody may."""
    rules = [
        {"apiGroups": ["ray.io"], "resources": ["rayservices"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]
    printed = (
        "selfsubjectreviews.authentication.k8s.io        []                []   [create]\n"
        "selfsubjectrulesreviews.authorization.k8s.io    []                []   [create]\n"
        "rayservices.ray.io                              []                []   [get list]\n"
        "pods/log                                        []                []   [get]\n"
        "                                                [/healthz]        []   [get]\n"
    )
    assert set(read_rights(printed)) == set(rights_of(rules))


def test_foreign_kinds_are_pinned() -> None:
    """A branch may have other CRDs tomorrow."""
    assert all(re.search(r"\b[0-9a-f]{40}\b", url) for url in CRDS)
