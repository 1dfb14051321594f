"""The command that serves in production mode on one machine, until a signal drains it.

``serve run`` does the same for development; it knows neither the production environment nor a
graceful stop on SIGTERM.
"""

import argparse
import json
import os
import shlex
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from serve_app.environment import launch_environment
from serve_app.local_service import (
    LaunchError,
    LocalService,
    Progress,
    StopRequest,
    stop_on_signals,
)
from serve_app.model.artifact import Artifact, ArtifactError
from serve_app.model.card import ModelCard
from serve_app.settings import Settings

DEFAULT_PORT = 8000
"""Serve's own, for a config that names none."""


def load_config(path: Path, arguments: Sequence[str]) -> tuple[dict[str, Any], Settings]:
    """Read the Serve config and put ``key=value`` arguments into its application.

    Returns:
        The config, complete, and the settings of its application.

    Raises:
        LaunchError: unreadable, not a Serve config of one application, or an unknown or mistyped
            argument.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        (application,) = config["applications"]
        application["args"] = args = dict(application.get("args") or {})
        config["http_options"] = dict(config.get("http_options") or {})
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise LaunchError(f"{path} is not a Serve config with one application: {error}") from error
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise LaunchError(f"argument {argument!r} is not key=value, such as model_dir=model")
        args[key] = value
    try:
        settings = Settings.model_validate(args)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise LaunchError(
            f"argument {name}={first['input']!r}: {first['msg']}; arguments are "
            f"{', '.join(Settings.model_fields)}"
        ) from error
    return config, settings


def require_free_port(port: int) -> None:
    """Check that nobody listens on ``port``.

    Raises:
        LaunchError: somebody does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except (OSError, OverflowError) as error:
            raise LaunchError(
                f"port {port} cannot be used ({error}); stop what listens there, or choose "
                "another one with --port"
            ) from error


def where(card: ModelCard, port: int, dashboard_url: str | None) -> str:
    """Addresses of the service, for people, with a command to copy."""
    base = f"http://localhost:{port}"
    lines = [f"  predict    {base}/predict/", f"  docs       {base}/docs"]
    if dashboard_url is not None:
        token = os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")
        lines.append(f"  dashboard  {dashboard_url}  (asks for the token in {token})")
    body = shlex.quote(sample_body(card))
    command = f"curl {base}/predict/ -H 'content-type: application/json' -d {body}"
    return "\n".join(["", *lines, "", f"  {command}", "", "Ctrl-C drains and stops."])


def sample_body(card: ModelCard) -> str:
    """The card's sample as a request body."""
    return json.dumps({name: card.sample.instance[name] for name in card.feature_names})


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parse(arguments)
    progress = Progress()
    stop = StopRequest()
    try:
        config, settings = load_config(options.config, options.arguments)
        card = Artifact.open(settings.model_dir, pinned_version=settings.model_version).card
        port = options.port or config["http_options"].get("port", DEFAULT_PORT)
        config["http_options"]["port"] = port
        require_free_port(port)
        progress(f"model {card.name} {card.version}, engine {card.compilation.engine}")
        # Ray reads these when it is imported, which is why it has not been so far.
        os.environ.update(_environment())
        service = LocalService(config, dashboard=not options.no_dashboard, progress=progress)
        stop_on_signals(stop)
        try:
            dashboard_url = service.start()
            stop_on_signals(stop)  # ray.init has put its own handler, which kills, in place
            service.wait_until_running(stop)
            if not stop.wait(0):
                progress("ready")
                print(where(card, port, dashboard_url), flush=True)
            stop.wait()
            progress("draining")
        finally:
            service.stop()
    except (LaunchError, ArtifactError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    progress("stopped")
    return 0


def _environment() -> dict[str, str]:
    try:
        return launch_environment(os.environ)
    except ValueError as error:
        raise LaunchError(str(error)) from error


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m serve_app",
        description="Serve the model in production mode on this machine.",
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="key=value",
        help="argument of the application, in place of the config's: "
        + ", ".join(Settings.model_fields),
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("serve_config.yaml"),
        help="Serve config (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, help="HTTP port, in place of the config's")
    parser.add_argument(
        "--no-dashboard",
        action="store_true",
        help="do without the Ray dashboard: 3 s quicker to start, 200 MB less memory",
    )
    # Plain parsing refuses key=value after an option.
    return parser.parse_intermixed_args(arguments)
