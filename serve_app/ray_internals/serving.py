"""Start Serve, deploy to it and ask it, within a time."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from serve_app.ray_internals.start import start_workers

if TYPE_CHECKING:
    from ray.serve.schema import ServeDeploySchema


SPARE_SECONDS = 15.0
"""How long the worker process of the first replica waits for it; then it ends."""


def start_serve(schema: "ServeDeploySchema", seconds: float) -> None:
    """Start Serve in the connected Ray, and deploy ``schema``, whose replicas start meanwhile.

    It waits until HAProxy listens, and not for the replicas. Source: ``serve_start`` in
    ray/serve/_private/api.py, which waits before anything is deployed, and ``deploy_apps`` of its
    client, as ``serve run`` calls them. The public ``serve.start`` takes no proxy location in this
    form.

    Raises:
        TimeoutError: HAProxy does not listen after so many ``seconds``.
    """
    import ray
    from ray.serve._private import api
    from ray.serve._private.client import ServeControllerClient
    from ray.serve.config import gRPCOptions

    controller, proxies = api._create_controller_and_proxy_refs(  # noqa: SLF001
        http_options=schema.http_options.model_dump(),
        grpc_options=gRPCOptions(**schema.grpc_options.model_dump()),
        global_logging_config=None,
        global_tracing_config=None,
        controller_options=api._coerce_controller_options(None),  # noqa: SLF001
        proxy_location=schema.proxy_location,
    )
    client = ServeControllerClient(controller)
    api._set_global_client(client)  # noqa: SLF001
    client.deploy_apps(schema, _blocking=False)
    start_workers(1, keep_seconds=SPARE_SECONDS, seconds=seconds)
    try:
        ray.get(proxies, timeout=seconds)
    except ray.exceptions.GetTimeoutError:
        raise TimeoutError(f"HAProxy does not listen after {seconds:.0f} s") from None


@dataclass(frozen=True)
class ApplicationStatus:
    """The application at one moment."""

    status: str
    """Such as RUNNING or DEPLOY_FAILED."""
    reasons: tuple[str, ...]
    """What Serve says of the application and its deployments."""


def application_status(seconds: float) -> ApplicationStatus | None:
    """Ask Serve's controller for the only application; None without an answer in ``seconds``.

    The public ``serve.status`` waits without limit for a controller that does not answer.
    Source: ``get_serve_details`` in ray/serve/_private/client.py.
    """
    import ray
    from ray.exceptions import RayError
    from ray.serve.context import _get_global_client
    from ray.serve.exceptions import RayServeException

    try:
        controller = _get_global_client()._controller  # noqa: SLF001
        answer = ray.get(controller.get_serve_instance_details.remote(), timeout=seconds)
    except (RayError, RayServeException):
        return None
    for application in answer["applications"].values():
        said = (application, *application["deployments"].values())
        reasons = tuple(each["message"] for each in said if each["message"])
        return ApplicationStatus(application["status"].value, reasons)
    return ApplicationStatus("DELETED", ())


def listen_on_loopback() -> None:
    """Keep the gRPC servers of this process on the loopback address, if Ray is there.

    Call it before Serve starts them: in the constructor of a deployment, and in a proxy when it
    asks for its middlewares. Source: ``_on_initialized`` in ray/serve/_private/replica.py, for the
    server that other deployments call, and ``start_grpc_server`` in
    ray/serve/_private/grpc_util.py; both listen on all interfaces.
    """
    from ray.serve._private import default_impl, replica
    from ray.util import get_node_ip_address

    address = get_node_ip_address()
    if ip_address(address).is_loopback:
        _listen_on(address, replica, "add_port_to_grpc_server")
        _listen_on(address, default_impl, "add_grpc_address")


def _listen_on(address: str, module: Any, function: str) -> None:
    """Have a function of ``module``, which lets a server listen everywhere, name ``address``."""
    add_port = getattr(module, function)

    def add_loopback_port(server: Any, everywhere: str) -> Any:
        return add_port(server, everywhere.replace("[::]", address))

    setattr(module, function, add_loopback_port)
