"""Several applications in one Ray, in production mode, until SIGTERM: ``... bench.ray_host FILE``.

Two Rays with HAProxy on one machine would fight for ports and drift apart between measurements;
in one, behind one HAProxy, they differ by their route prefix only.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from serve_app.environment import launch_environment
from serve_app.runtime.local_service import LocalService, Progress
from serve_app.runtime.signals import StopRequest, stop_on_signals
from serve_app.serve_config import ServeConfig

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

    def of(self, template: ServeConfig) -> dict[str, Any]:
        """This application with the options of the one in ``template``, and one replica."""
        actor = {
            "num_cpus": CPUS_PER_REPLICA,
            "runtime_env": {"env_vars": dict(self.environment)},
        }
        one = template.override(
            deployment={
                "name": self.deployment,
                "autoscaling_config": None,
                "num_replicas": 1,
                "ray_actor_options": actor,
            }
        )
        return {
            **one.document["applications"][0],
            "name": self.name,
            "route_prefix": f"/{self.name}",
            "import_path": self.import_path,
            "args": dict(self.args),
        }


def many_applications(
    config: ServeConfig, applications: Sequence[RayApplication], port: int
) -> ServeConfig:
    """Serve config whose applications all have the options of ``config``'s one."""
    whole = config.override(http_options={"port": port})
    made = [application.of(config) for application in applications]
    return replace(whole, document={**whole.document, "applications": made})


def main(path: Path) -> None:
    """Serve the config in ``path``, a JSON file."""
    config = ServeConfig(path, json.loads(path.read_text(encoding="utf-8")))
    # Ray reads these when it is imported, which is why it has not been so far.
    os.environ.update(launch_environment(os.environ))
    stop = StopRequest()
    service = LocalService(config, dashboard=False, progress=Progress())
    stop_on_signals(stop)
    try:
        service.start()
        stop_on_signals(stop)  # ray.init has installed its own handler, which kills
        stop.wait()
    finally:
        service.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
