"""Several applications in one Ray, in production mode, until SIGTERM: ``... bench.ray_host FILE``.

Two Rays with HAProxy on one machine would fight for ports and drift apart between measurements;
in one, behind one HAProxy, they differ by their route prefix only.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serve_app.environment import launch_environment
from serve_app.runtime.local_service import LocalService, Progress, StopRequest, stop_on_signals

CPUS_PER_REPLICA = 0.1
"""Ray's bookkeeping only: lets all replicas fit on a small machine, where all but one idle."""


@dataclass(frozen=True)
class RayApplication:
    """An application as it stands beside the others; its name is its route prefix."""

    name: str
    import_path: str
    deployment: str
    args: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the replica's process."""


def many_applications(
    config: Mapping[str, Any], applications: Sequence[RayApplication], port: int
) -> dict[str, Any]:
    """Serve config whose applications all have the options of ``config``'s one."""
    (template,) = config["applications"]
    (options,) = template["deployments"]
    return {
        **config,
        "http_options": {**config["http_options"], "port": port},
        "applications": [
            {
                "name": application.name,
                "route_prefix": f"/{application.name}",
                "import_path": application.import_path,
                "args": dict(application.args),
                "logging_config": template["logging_config"],
                "deployments": [
                    {
                        **{key: options[key] for key in options if key != "autoscaling_config"},
                        "name": application.deployment,
                        "num_replicas": 1,
                        "ray_actor_options": {
                            "num_cpus": CPUS_PER_REPLICA,
                            "runtime_env": {"env_vars": dict(application.environment)},
                        },
                    }
                ],
            }
            for application in applications
        ],
    }


def main(arguments: Sequence[str]) -> int:
    """Serve the config in the file that is the only argument; returns the exit code."""
    (path,) = arguments
    config = json.loads(Path(path).read_text(encoding="utf-8"))
    # Ray reads these when it is imported, which is why it has not been so far.
    os.environ.update(launch_environment(os.environ))
    stop = StopRequest()
    service = LocalService(config, dashboard=False, progress=Progress())
    stop_on_signals(stop)
    try:
        service.start()
        stop_on_signals(stop)  # ray.init has put its own handler, which kills, in place
        stop.wait()
    finally:
        service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
