"""Several applications in one Ray, in production mode, until SIGTERM: ``... bench.ray_host FILE``.

Two Rays with HAProxy on one machine would fight for ports and drift apart between measurements;
in one, behind one HAProxy, they differ by their route prefix only.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from serve_app.environment import launch_environment
from serve_app.runtime.local_service import LocalService, Progress
from serve_app.runtime.request_limits import request_limits
from serve_app.runtime.signals import StopRequest, stop_on_signals
from serve_app.serve_config import ServeConfig

REQUEST_SECONDS = 10.0
CPUS_PER_REPLICA = 0.1
"""Ray's bookkeeping only: lets all replicas fit on a small machine, where all but one idle."""


def application(
    template: ServeConfig,
    name: str,
    import_path: str,
    deployment: str,
    *,
    args: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """An application with the options of the one in ``template``, and one replica.

    Its name is its route prefix; ``environment`` is that of the replica's process.
    """
    runtime = {"env_vars": dict(environment or {})}
    options = {
        "name": deployment,
        "autoscaling_config": None,
        "num_replicas": 1,
        "ray_actor_options": {"num_cpus": CPUS_PER_REPLICA, "runtime_env": runtime},
    }
    return {
        **template.override(deployment=options).document["applications"][0],
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": import_path,
        "args": dict(args),
    }


def many_applications(
    template: ServeConfig,
    applications: Sequence[Mapping[str, Any]],
    port: int,
    grpc_port: int | None = None,
) -> ServeConfig:
    """``template`` with other applications, on other ports; without a port for gRPC without it."""
    # Of several applications a call names one, which a client of a single one does not.
    grpc = {"grpc_servicer_functions": None} if grpc_port is None else {"port": grpc_port}
    whole = template.override(http_options={"port": port}, grpc_options=grpc)
    return replace(whole, document={**whole.document, "applications": list(applications)})


def environment_for(config: ServeConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` with the limits of the service: what is compared is what is served."""
    return launch_environment(environment, request_limits(config))


def main(path: Path) -> None:
    """Serve the config in ``path``, a JSON file."""
    config = ServeConfig(path, json.loads(path.read_text(encoding="utf-8")))
    # Ray reads these when it is imported, which is why it has not been so far.
    os.environ.update(environment_for(config, os.environ))
    stop = StopRequest()
    service = LocalService(
        config,
        host="127.0.0.1",
        request_seconds=REQUEST_SECONDS,
        progress=Progress(),
    )
    stop_on_signals(stop)
    try:
        service.start()
        stop_on_signals(stop)  # ray.init has installed its own handler, which kills
        stop.wait()
    finally:
        service.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
