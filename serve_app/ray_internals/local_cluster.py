"""A cluster on one machine, whose nodes come and go as in a real one."""

from collections.abc import Mapping
from typing import Any

HEAD_NODE_ID = "f" * 51 + "00000"
"""``FAKE_HEAD_NODE_ID`` in ray/autoscaler/_private/fake_multi_node/node_provider.py, which counts
on from here."""
NODE_PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"


def fake_cluster_environment(report_seconds: int) -> dict[str, str]:
    """Variables of a Ray head whose autoscaler starts nodes as processes on this machine.

    Source: ``AutoscalingCluster.start`` in ray/cluster_utils.py. The class itself is not used: it
    needs a file that Ray's wheel lacks, and stops every other Ray on the machine.

    Args:
        report_seconds: how often nodes and dashboard refresh what they report.
    """
    return {
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_NODE_ID,
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "REPORTER_UPDATE_INTERVAL_MS": str(report_seconds * 1000),
        "RAY_metrics_report_interval_ms": str(report_seconds * 1000),
        "RAY_DASHBOARD_STATS_UPDATING_INTERVAL": str(report_seconds),
        "NODE_STATS_UPDATE_INTERVAL_SECONDS": str(report_seconds),
    }


def fake_cluster_config(
    *,
    gcs_address: str,
    min_nodes: int,
    max_nodes: int,
    idle_seconds: float,
    node_resources: Mapping[str, float],
) -> dict[str, Any]:
    """Autoscaler config of such a cluster: a head without resources and workers that are alike.

    Source: ``AutoscalingCluster._generate_config`` in ray/cluster_utils.py and
    fake_multi_node/example.yaml.
    """
    mappings = ("auth", "docker", "file_mounts")
    lists = (
        *("initialization_commands", "setup_commands", "head_setup_commands"),
        *("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
        *("cluster_synced_files", "rsync_exclude", "rsync_filter"),
    )
    return {
        "cluster_name": "local",
        "max_workers": max_nodes,
        "idle_timeout_minutes": idle_seconds / 60,
        "upscaling_speed": 1.0,
        "provider": {
            "type": "external",
            "module": NODE_PROVIDER,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "launch_multiple": True,
            "head_node_id": HEAD_NODE_ID,
            "gcs_address": gcs_address,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": dict(node_resources),
                "node_config": {},
                "min_workers": min_nodes,
                "max_workers": max_nodes,
            },
        },
        "file_mounts_sync_continuously": False,
        **{name: {} for name in mappings},
        **{name: [] for name in lists},
    }
