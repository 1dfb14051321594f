"""The config that the installed Ray Serve writes for HAProxy, in a directory of the tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ray.serve._private.common import RequestProtocol
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions, gRPCOptions

from serve_app.runtime.ports import spare_ports

KEEP_ALIVE_SECONDS = 620


class RayConfig:
    """Ray's manager of one HAProxy, without its actor: it writes the config again and again.

    Args:
        directory: becomes that of a node; its name stands for the node's id.
        is_head: whether the node is the head of its cluster.
        has_grpc: whether the service has gRPC.
    """

    def __init__(self, directory: Path, *, is_head: bool = True, has_grpc: bool = True) -> None:
        directory.mkdir(exist_ok=True)
        # A client's connection may get another free port before HAProxy has it.
        ports = spare_ports()
        self.port, self.metrics_port = next(ports), next(ports)
        self.stats_port, self.grpc_port = next(ports), next(ports)
        self.path = directory / "haproxy.cfg"
        self.admin_socket = directory / "admin.sock"
        self._settings = HAProxyConfig(
            http_options=HTTPOptions(
                host="0.0.0.0",  # noqa: S104 - as Serve has it
                port=self.port,
                keep_alive_timeout_s=KEEP_ALIVE_SECONDS,
            ),
            grpc_options=gRPCOptions(
                port=self.grpc_port, grpc_servicer_functions=["a:b"] if has_grpc else []
            ),
            is_head=is_head,
            socket_path=str(self.admin_socket),
            server_state_base=str(directory),
            server_state_file=str(directory / "server-state"),
            metrics_socket_path=str(directory / "metrics.sock"),
            metrics_port=self.metrics_port,
            stats_port=self.stats_port,
            maxconn=4096,
            bufsize=32768,
            timeout_client_s=30,
            timeout_server_s=2,
            health_check_inter="200ms",
            # One thread is enough, and each costs some start-up.
            nbthread=1,
        )
        self._api = HAProxyApi(self._settings, config_file_path=str(self.path))

    def write(
        self,
        replicas: Sequence[str] | None = None,
        *,
        fallback: str | None = None,
        draining: bool = False,
        prefix: str = "/",
        grpc_replicas: Sequence[str] | None = None,
        grpc_fallback: str | None = None,
    ) -> str:
        """Write the config, and return it.

        Args:
            replicas: addresses; None while Serve has named no route.
            fallback: address of Serve's own proxy.
            draining: whether Serve takes the proxy out of service.
            prefix: path of the application.
            grpc_replicas: addresses of gRPC; None while Serve has named no route.
            grpc_fallback: address of gRPC of Serve's own proxy.
        """
        backends = {}
        if replicas is not None:
            backend = BackendConfig(
                name="http-classifier",
                path_prefix=prefix,
                app_name="classifier",
                ingress_deployment_name="Classifier",
                servers=[_server(f"replica-{n}", each) for n, each in enumerate(replicas)],
                fallback_server=_server("fallback", fallback) if fallback else None,
            )
            backends[backend.name] = backend
        if grpc_replicas is not None:
            of_grpc = BackendConfig(
                name="grpc-classifier",
                path_prefix="/",
                app_name="classifier",
                protocol=RequestProtocol.GRPC,
                servers=[_server(f"replica-{n}", each) for n, each in enumerate(grpc_replicas)],
                fallback_server=_server("fallback", grpc_fallback) if grpc_fallback else None,
            )
            backends[of_grpc.name] = of_grpc
        if backends:
            self._api.set_backend_configs(backends)
        if grpc_fallback is not None:
            self._api.set_grpc_fallback_server(_server("fallback", grpc_fallback))
        self._settings.pass_health_checks = not draining
        self._api._generate_config_file_internal()
        return self.path.read_text(encoding="utf-8")


State = Literal["start", "no replica", "ready", "draining"]
STATES: Sequence[State] = ("start", "no replica", "ready", "draining")


def write_state(config: RayConfig, state: State) -> str:
    """Write the config of a state in which Ray's manager can be."""
    if state == "start":
        return config.write()
    replicas = [] if state == "no replica" else ["127.0.0.1:30000", "127.0.0.1:30001"]
    return config.write(
        replicas,
        fallback="127.0.0.1:8500",
        draining=state == "draining",
        grpc_replicas=[each.replace(":3", ":4") for each in replicas],
        grpc_fallback="127.0.0.1:9500",
    )


def _server(name: str, address: str) -> ServerConfig:
    host, port = address.split(":")
    return ServerConfig(name, host, int(port))
