"""The production mode on one machine: Ray, Serve and the application, until a signal drains them.

``serve run`` does the same for development; it knows neither the production environment nor a
graceful stop on SIGTERM.
"""

import argparse
import contextlib
import json
import logging
import os
import queue
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml
from pydantic import ValidationError

from serve_app.artifact import Artifact, ArtifactError
from serve_app.card import ModelCard
from serve_app.environment import launch_environment
from serve_app.settings import Settings

DEFAULT_PORT = 8000
"""Serve's own, for a config that names none."""
START_SECONDS = 120.0
POLL_SECONDS = 0.1
LEFTOVER_SECONDS = 2.0
OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""Serve keeps no objects there; Ray's default would take 30 % of the machine's memory for it."""


class LaunchError(Exception):
    """The service cannot start: names the problem and the fix."""


class Progress:
    """Prints what is being waited for, with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one line at once."""
        print(f"[{time.monotonic() - self._started:5.1f} s] {text}", flush=True)


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


class StopRequest:
    """Set by signal handlers, which interrupt each other: threading.Event could deadlock then."""

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[None] = queue.SimpleQueue()  # its put is reentrant
        self._requested = False

    def set(self) -> None:
        """Ask to stop."""
        self._requested = True
        self._requests.put(None)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until asked, at most ``seconds``; True if asked."""
        if not self._requested:
            with contextlib.suppress(queue.Empty):
                self._requests.get(timeout=seconds)
        return self._requested


class LocalService:
    """A Ray and a Ray Serve of their own, on this machine."""

    def __init__(self, config: dict[str, Any], *, dashboard: bool, progress: Progress) -> None:
        self._config = config
        self._dashboard = dashboard
        self._progress = progress

    def start(self) -> str | None:
        """Start Ray and deploy the config; returns the address of the dashboard, if any."""
        self._progress("starting Ray")
        import ray
        from ray.serve._private.api import serve_start
        from ray.serve.config import gRPCOptions
        from ray.serve.schema import ServeDeploySchema

        schema = ServeDeploySchema.model_validate(self._config)
        context = ray.init(
            address="local",
            namespace="serve",
            include_dashboard=self._dashboard,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level=logging.WARNING,
        )
        self._progress("starting Ray Serve")
        client = serve_start(
            http_options=schema.http_options.model_dump(),
            proxy_location=schema.proxy_location,
            grpc_options=gRPCOptions(**schema.grpc_options.model_dump()),
        )
        client.deploy_apps(schema, _blocking=False)
        self._progress("starting the replicas")
        return f"http://{context.dashboard_url}" if self._dashboard else None

    def wait_until_running(self, stop: StopRequest) -> None:
        """Wait for the application, or for ``stop``.

        Raises:
            LaunchError: the application fails to deploy, or takes longer than `START_SECONDS`.
        """
        from ray import serve

        deadline = time.monotonic() + START_SECONDS
        while not stop.wait(POLL_SECONDS):
            (application,) = serve.status().applications.values()
            if application.status.value == "RUNNING":
                return
            if application.status.value == "DEPLOY_FAILED":
                deployments = application.deployments.values()
                messages = [application.message, *(found.message for found in deployments)]
                raise LaunchError("the application did not start: " + "\n".join(messages))
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"no replica is ready after {START_SECONDS:.0f} s; see its log above, or give "
                    "the machine more CPU"
                )

    def stop(self) -> None:
        """Answer what was accepted, then stop every process."""
        import ray
        from ray import serve

        children = psutil.Process().children(recursive=True)
        self._drain_ingress([process for process in children if process.name() == "haproxy"])
        if ray.is_initialized():
            serve.shutdown()
            ray.shutdown()
        # The dashboard's own processes notice only after seconds that it is gone.
        _, alive = psutil.wait_procs(children, timeout=LEFTOVER_SECONDS)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive)

    def _drain_ingress(self, ingresses: Sequence[psutil.Process]) -> None:
        # Serve's own shutdown kills the ingress with the requests in it. HAProxy's soft stop
        # accepts no more, answers those at hand, and exits:
        # https://docs.haproxy.org/2.8/management.html#4
        for ingress in ingresses:
            ingress.send_signal(signal.SIGUSR1)
        longest_request = self._config["http_options"].get("request_timeout_s")
        psutil.wait_procs(ingresses, timeout=longest_request)


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
        _on_signals(stop.set)
        try:
            dashboard_url = service.start()
            _on_signals(stop.set)  # ray.init has put its own handler, which kills, in place
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


def _on_signals(callback: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: callback())


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
        help="do without the Ray dashboard: quicker to start, and half the memory",
    )
    # Plain parsing refuses key=value after an option.
    return parser.parse_intermixed_args(arguments)
