"""The manifest of KubeRay's incremental upgrade."""

from pathlib import Path

import pytest
import yaml

from deploy.kubectl import Kubectl
from deploy.shell import CommandError
from serve_app.errors import UserError
from serve_app.serve_config import ServeConfig, packaged_config
from studies.e2e.cluster import Cluster
from studies.e2e.incremental import OPTIONS, require_class, with_gateway


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


class Classes(Kubectl):
    """Of a cluster that has these classes of Gateways, or does not know what they are."""

    def __init__(self, classes: list[str] | None) -> None:
        self._classes = classes

    def names(self, kind: str, *options: str) -> list[str]:
        assert (kind, options) == ("gatewayclasses", ())
        if self._classes is None:
            raise CommandError(
                ["kubectl", "get"], "failed", "the server doesn't have a resource type"
            )
        return [f"gatewayclass.gateway.networking.k8s.io/{name}" for name in self._classes]


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (["traefik", "istio"], "the cluster has traefik, istio"),
        ([], "the cluster has none"),
        (None, "knows no Gateways; install the controller"),
    ],
)
def test_a_class_that_is_not_there_is_refused(classes: list[str] | None, said: str) -> None:
    """Before anything is deployed: its Gateway would be waited for in vain."""
    with pytest.raises(UserError, match=f"--gateway-class tomcat: .*{said}"):
        require_class(Classes(classes), "tomcat")
    require_class(Classes(["tomcat"]), "tomcat")
