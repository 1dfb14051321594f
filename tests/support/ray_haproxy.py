"""The config that the installed Ray Serve writes for HAProxy, in a directory of the tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

from serve_app.runtime.ports import free_port

KEEP_ALIVE_SECONDS = 620


class RayConfig:
    """Ray's manager of one HAProxy, without its actor: it writes the config again and again.

    Args:
        directory: becomes that of a node; its name stands for the node's id.
        is_head: whether the node is the head of its cluster.
    """

    def __init__(self, directory: Path, *, is_head: bool = True) -> None:
        directory.mkdir(exist_ok=True)
        self.port, self.metrics_port, self.stats_port = free_port(), free_port(), free_port()
        self.path = directory / "haproxy.cfg"
        self.admin_socket = directory / "admin.sock"
        self._settings = HAProxyConfig(
            http_options=HTTPOptions(
                host="0.0.0.0",  # noqa: S104 - as Serve has it
                port=self.port,
                keep_alive_timeout_s=KEEP_ALIVE_SECONDS,
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
    ) -> str:
        """Write the config, and return it.

        Args:
            replicas: addresses; None while Serve has named no route.
            fallback: address of Serve's own proxy.
            draining: whether Serve takes the proxy out of service.
            prefix: path of the application.
        """
        if replicas is not None:
            backend = BackendConfig(
                name="http-classifier",
                path_prefix=prefix,
                app_name="classifier",
                ingress_deployment_name="Classifier",
                servers=[_server(f"replica-{n}", each) for n, each in enumerate(replicas)],
                fallback_server=_server("fallback", fallback) if fallback else None,
            )
            self._api.set_backend_configs({backend.name: backend})
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
    return config.write(replicas, fallback="127.0.0.1:8500", draining=state == "draining")


def _server(name: str, address: str) -> ServerConfig:
    host, port = address.split(":")
    return ServerConfig(name, host, int(port))
