"""Processes of a node, their logs, and how a node is drained."""

from pathlib import Path

RAYLET = "raylet"
"""Name of a node's main process. ``RAYLET_EXECUTABLE`` in ray/_private/services.py."""
GCS = "gcs_server"
"""Name of the process that knows the cluster. ``GCS_SERVER_EXECUTABLE``, at the same place."""
CONTROLLER = "ray::ServeController"
"""Beginning of the title of an actor's process, which is ``ray::`` and the class; see
``_get_controller_impl`` in ray/serve/_private/default_impl.py."""
REPLICA = "ray::ServeReplica"
"""The same; application and deployment follow, after a colon each. ``to_replica_actor_class_name``
of ``DeploymentID`` in ray/serve/_private/common.py."""
HAPROXY_MANAGER = "ray::HAProxyManager"
"""ray/serve/_private/haproxy.py."""
FALLBACK_PROXY = "ray::ProxyActor"
"""ray/serve/_private/proxy.py."""
DASHBOARD = "ray/dashboard/dashboard.py"
"""End of the path of a program of Python. ``start_api_server`` in ray/_private/services.py."""


def drain_node_command(address: str, reason: str, seconds: int) -> list[str]:
    """Command that drains the node on which it runs.

    Source: ``drain_node`` in ray/scripts/scripts.py. A node may refuse to drain for idleness, but
    not for a preemption.
    """
    return [
        *("ray", "drain-node", f"--address={address}"),
        *("--reason=DRAIN_NODE_REASON_PREEMPTION", f"--reason-message={reason}"),
        f"--deadline-remaining-seconds={seconds}",
    ]


SESSION_LOGS = Path("/tmp/ray/session_latest/logs")  # noqa: S108 - Ray's own
"""``SESSION_LATEST`` in ray/_private/ray_constants.py names the link."""
WORKER_ERRORS = "worker-*.err"
"""Standard error of worker processes. ``get_worker_log_file_name`` in
ray/_private/ray_logging/__init__.py."""
SERVE_LOGS = "serve"
"""Directory below. ``get_serve_logs_dir`` in ray/serve/_private/logging_utils.py."""
