"""Serve in production mode on one machine until a signal drains it.

``serve run`` does the same for development; it has neither the production environment nor a
graceful stop on SIGTERM, and it does not notice what ends.
"""

import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serve_app.environment import launch_environment
from serve_app.errors import UserError
from serve_app.model.artifact import Artifact
from serve_app.model.card import ModelCard
from serve_app.ray_internals.haproxy import HAPROXY_MAXCONN_VARIABLE, haproxy_files
from serve_app.ray_internals.start import start_environment
from serve_app.runtime.ingress import PUBLIC_HOST_VARIABLE
from serve_app.runtime.local_service import START_SECONDS, LocalService, Progress
from serve_app.runtime.open_files import check_open_files
from serve_app.runtime.ports import LOOPBACK, PortError, fixed_ports, require_free_port
from serve_app.runtime.request_limits import request_limits
from serve_app.runtime.signals import StopRequest, stop_on_signals
from serve_app.runtime.supervisor import Phase, Tell, supervise
from serve_app.runtime.vertex import VertexContract
from serve_app.serve_config import DEFAULT_PORT, ServeConfig
from serve_app.settings import Settings

ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - compared with, not listened on
SCRATCH = "/tmp"  # noqa: S108 - a directory with a name that is new and its owner's alone
"""For HAProxy's files, whatever TMPDIR is: the path of a socket must be short."""
REQUEST_SECONDS = 60.0
"""Longest wait for a request at the stop, where the config has no limit."""


@dataclass(frozen=True)
class Launch:
    """What to serve, and how."""

    config: ServeConfig
    host: str = LOOPBACK
    """Address on which to listen, in place of the config's, which is made for pods."""
    port: int | None = None
    """HTTP port, in place of Vertex AI's and the config's."""
    grpc_port: int | None = None
    """gRPC port, in place of the config's."""
    dashboard: bool = True


def launch(plan: Launch) -> None:
    """Start the service, wait for SIGINT or SIGTERM, and drain it.

    Raises:
        UserError: the model, a port, the environment or the config cannot be used, or the
            application does not start.
        CheckFailedError: a process that the service needs has ended, or it did not stop in order.
    """
    progress = Progress()
    settings = plan.config.settings
    card = Artifact.open(settings.model_dir, pinned_version=settings.model_version).card
    vertex = VertexContract.read(os.environ)
    # The address of replicas, too; HAProxy alone listens on another one.
    config = plan.config.at(LOOPBACK, plan.port or vertex.port or plan.config.port, plan.grpc_port)
    # A replica that starts later must not serve what has taken the place of this model.
    config = config.override(args={"model_version": card.version, **vertex.arguments})
    require_free_port(config.port, address=plan.host)
    if config.grpc_port is not None:
        fix = "choose another port for gRPC with --grpc-port"
        if config.grpc_port == config.port:
            raise PortError(f"port {config.port} is that of HTTP, too; {fix}")
        require_free_port(config.grpc_port, address=plan.host, fix=fix)
    progress(f"model {card.name} {card.version}, engine {card.compilation.engine}")
    ports = fixed_ports(os.environ, move=config.port != DEFAULT_PORT, say=progress)
    # Before Ray is imported: it reads these variables then.
    launched = launch_environment(os.environ, request_limits(plan.config))
    check_open_files(_connections(launched), progress)
    variables = {**start_environment(START_SECONDS), **ports, **launched}
    os.environ.update(variables, **{PUBLIC_HOST_VARIABLE: plan.host})
    request_seconds = config.request_timeout_s or REQUEST_SECONDS
    service = LocalService(
        config,
        host=LOOPBACK if plan.host == ALL_INTERFACES else plan.host,
        request_seconds=request_seconds,
        progress=progress,
    )

    def run(tell: Tell) -> None:
        stop = StopRequest()
        try:
            service.start()
            stop_on_signals(stop)  # in place of that of ray.init, which kills
            service.wait_until_running(stop)
            if not stop.wait(0):
                progress("ready")
                print(addresses(card, config, plan.host), flush=True)
                tell(Phase.READY)
                if plan.dashboard:
                    service.start_dashboard()
            service.watch(stop)
            progress("draining")
        finally:
            tell(Phase.STOPPING)
            service.stop()
        progress("stopped")

    with _haproxy_directory() as directory:
        for name, value in haproxy_files(directory).items():
            os.environ.setdefault(name, value)
        supervise(run, request_seconds=request_seconds, say=progress)


def _connections(environment: Mapping[str, str]) -> int:
    number = environment[HAPROXY_MAXCONN_VARIABLE]
    if not number.isdecimal():
        raise UserError(f"{HAPROXY_MAXCONN_VARIABLE}={number!r} is not a number of connections")
    return int(number)


@contextmanager
def _haproxy_directory() -> Iterator[Path]:
    """A directory of this user alone; it goes when the launcher ends, and everything before it."""
    try:
        path = Path(tempfile.mkdtemp(prefix="haproxy-", dir=SCRATCH))
    except OSError as error:
        raise UserError(f"HAProxy's files cannot be written to {SCRATCH}: {error}") from error
    launcher = os.getpid()
    try:
        yield path
    finally:
        # The process that runs Ray comes here first, and HAProxy may outlive it; the launcher comes
        # later, unless it was killed.
        if os.getppid() != launcher:
            shutil.rmtree(path, ignore_errors=True)


def addresses(card: ModelCard, config: ServeConfig, host: str) -> str:
    """Addresses of the service, which listens on ``host``, and commands to copy."""
    name = "localhost" if host in (LOOPBACK, ALL_INTERFACES) else host
    model_dir, base = config.settings.model_dir, f"http://{name}:{config.port}"
    lines = [f"  predict    {base}/predict/", f"  docs       {base}/docs"]
    if config.grpc_port is not None:
        lines.append(f"  gRPC       {name}:{config.grpc_port}  (Open Inference Protocol V2)")
    body = shlex.quote(json.dumps(card.example))
    predict = f"curl {base}/predict/ -H 'content-type: application/json' -d {body}"
    load = f"{_activation()}serve-app load --host {base}"
    if model_dir != Settings().model_dir:
        # Answers are checked against this copy.
        load += f" --model-dir {shlex.quote(str(model_dir))}"
    return "\n".join(["", *lines, "", f"  {predict}", f"  {load}", "", "Ctrl-C drains and stops."])


def _activation() -> str:
    """What makes ``serve-app`` known to the user's shell, if that is needed."""
    environment = Path(sys.prefix)
    if sys.prefix == sys.base_prefix or os.environ.get("VIRTUAL_ENV") == sys.prefix:
        return ""
    if environment.is_relative_to(Path.cwd()):
        environment = environment.relative_to(Path.cwd())
    return f"source {shlex.quote(str(environment / 'bin' / 'activate'))} && "
