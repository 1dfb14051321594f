"""Serve in production mode on one machine until a signal drains it.

``serve run`` does the same for development; it has neither the production environment nor a
graceful stop on SIGTERM.
"""

import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from serve_app.environment import launch_environment
from serve_app.model.artifact import Artifact
from serve_app.model.card import ModelCard
from serve_app.runtime.local_service import LocalService, Progress
from serve_app.runtime.ports import require_free_port
from serve_app.runtime.signals import StopRequest, stop_on_signals
from serve_app.serve_config import ServeConfig


@dataclass(frozen=True)
class Launch:
    """What to serve, and how."""

    config: ServeConfig
    port: int | None = None
    """HTTP port, in place of the config's."""
    dashboard: bool = True


def launch(plan: Launch) -> None:
    """Start the service, wait for SIGINT or SIGTERM, and drain it.

    Raises:
        UserError: the model, the port, the environment or the config cannot be used, or the
            application does not start.
    """
    progress = Progress()
    stop = StopRequest()
    settings = plan.config.settings
    card = Artifact.open(settings.model_dir, pinned_version=settings.model_version).card
    port = plan.port or plan.config.port
    require_free_port(port)
    progress(f"model {card.name} {card.version}, engine {card.compilation.engine}")
    # Before Ray is imported: it reads these variables then.
    os.environ.update(launch_environment(os.environ))
    config = plan.config.override(http_options={"port": port})
    service = LocalService(config, dashboard=plan.dashboard, progress=progress)
    stop_on_signals(stop)
    try:
        dashboard_url = service.start()
        stop_on_signals(stop)  # ray.init has installed its own handler, which kills
        service.wait_until_running(stop)
        if not stop.wait(0):
            progress("ready")
            print(addresses(card, port, dashboard_url), flush=True)
        stop.wait()
        progress("draining")
    finally:
        service.stop()
    progress("stopped")


def addresses(card: ModelCard, port: int, dashboard_url: str | None) -> str:
    """Addresses of the service, and a command to copy."""
    base = f"http://localhost:{port}"
    lines = [f"  predict    {base}/predict/", f"  docs       {base}/docs"]
    if dashboard_url is not None:
        token = os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")
        lines.append(f"  dashboard  {dashboard_url}  (asks for the token in {token})")
    body = shlex.quote(json.dumps(card.example))
    predict = f"curl {base}/predict/ -H 'content-type: application/json' -d {body}"
    load = f"{_activation()}serve-app load --host {base}"
    return "\n".join(["", *lines, "", f"  {predict}", f"  {load}", "", "Ctrl-C drains and stops."])


def _activation() -> str:
    """What makes ``serve-app`` known to the user's shell, if that is needed."""
    environment = Path(sys.prefix)
    if sys.prefix == sys.base_prefix or os.environ.get("VIRTUAL_ENV") == sys.prefix:
        return ""
    if environment.is_relative_to(Path.cwd()):
        environment = environment.relative_to(Path.cwd())
    return f"source {shlex.quote(str(environment / 'bin' / 'activate'))} && "
