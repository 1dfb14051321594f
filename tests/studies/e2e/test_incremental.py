"""The manifest of KubeRay's incremental upgrade."""

from pathlib import Path

import yaml

from serve_app.serve_config import ServeConfig, packaged_config
from studies.e2e.cluster import Cluster
from studies.e2e.incremental import OPTIONS, with_gateway


def test_only_the_strategy_differs(tmp_path: Path) -> None:
    """Every other document and field is as it was."""
    config = ServeConfig.read(packaged_config())
    manifest = Cluster("there", tmp_path / "manifests").manifest("a/b:first", config)
    before = list(yaml.safe_load_all(manifest))
    after = list(yaml.safe_load_all(with_gateway(manifest, "a-class")))
    (service,) = [each for each in after if each["kind"] == "RayService"]
    strategy = service["spec"]["upgradeStrategy"]
    assert strategy["type"] == "NewClusterWithIncrementalUpgrade"
    assert strategy["clusterUpgradeOptions"] == {**OPTIONS, "gatewayClassName": "a-class"}
    service["spec"]["upgradeStrategy"] = {"type": "NewCluster"}
    assert after == before
