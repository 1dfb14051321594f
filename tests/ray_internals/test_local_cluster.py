"""A cluster on one machine, against the installed Ray."""

import inspect

from serve_app.ray_internals import local_cluster, nodes
from tests.ray_internals.installed import RAY, source


def test_a_local_cluster_has_rays_head() -> None:
    """Id of the head and the class that makes its workers."""
    from ray.autoscaler._private.fake_multi_node import node_provider

    assert local_cluster.HEAD_NODE_ID == node_provider.FAKE_HEAD_NODE_ID
    module, _, name = local_cluster.NODE_PROVIDER.rpartition(".")
    assert module == node_provider.__name__
    assert hasattr(node_provider, name)


def test_a_local_cluster_has_the_environment_of_rays_own() -> None:
    """Every variable is one that Ray reads."""
    from ray.cluster_utils import AutoscalingCluster

    start = inspect.getsource(AutoscalingCluster.start)
    files = {
        "REPORTER_UPDATE_INTERVAL_MS": "dashboard/modules/reporter/reporter_consts.py",
        "RAY_DASHBOARD_STATS_UPDATING_INTERVAL": "dashboard/consts.py",
        "NODE_STATS_UPDATE_INTERVAL_SECONDS": "dashboard/modules/node/node_consts.py",
    }
    for name in local_cluster.fake_cluster_environment(report_seconds=2):
        if name == "RAY_metrics_report_interval_ms":
            raylet = RAY / "core" / "src" / "ray" / "raylet" / nodes.RAYLET
            assert name.removeprefix("RAY_").encode() in raylet.read_bytes()
        else:
            assert f'"{name}"' in (source(files[name]) if name in files else start)


def test_a_local_cluster_has_a_valid_config() -> None:
    """Ray's own schema accepts it."""
    from ray.autoscaler._private.util import validate_config

    config = local_cluster.fake_cluster_config(
        gcs_address="127.0.0.1:6379",
        min_nodes=1,
        max_nodes=3,
        idle_seconds=30,
        node_resources={"CPU": 2},
    )
    validate_config(config)
    assert config["available_node_types"]["worker"]["max_workers"] == config["max_workers"] == 3
