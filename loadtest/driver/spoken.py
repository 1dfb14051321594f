"""Whether the service speaks the protocol of the users: asked once, before there are any.

Otherwise every request of the load would fail, with a status that names no fix.
"""

from loadtest.driver.grpc_channel import GrpcChannel
from loadtest.driver.options import GRPC, V2
from serve_app.client import ServiceClient, ServiceError

SECONDS = 5.0


def require_protocol(protocol: str, host: str, grpc_address: str, model: str) -> None:
    """Check that ``model`` is ready in a protocol.

    Args:
        protocol: one of the option's choices.
        host: address of the service.
        grpc_address: host and port of its gRPC.
        model: name of the model that it announces.

    Raises:
        ServiceError: it does not answer in that protocol.
    """
    if protocol == V2:
        path = f"/v2/models/{model}/ready"
        with ServiceClient(host, timeout_seconds=SECONDS) as service:
            if not service.has(path):
                raise ServiceError(
                    f"--protocol {protocol}: {service.url} has no {path}; add {protocol} to "
                    "`protocols` in its serve_config.yaml"
                )
    if protocol == GRPC:
        _require_grpc(grpc_address, model)


def _require_grpc(address: str, model: str) -> None:
    from serve_app.grpc.generated import open_inference_grpc_pb2 as pb2

    service = pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    body = pb2.ModelReadyRequest(name=model).SerializeToString()
    channel = GrpcChannel(address)
    try:
        _, status = channel.call(f"/{service.full_name}/ModelReady", body, {}, SECONDS)
    finally:
        channel.close()
    if status is not None:
        raise ServiceError(
            f"--protocol {GRPC}: {address} answered {status} for model {model}; name the right "
            "HOST:PORT with --grpc-address, or give it gRPC by `grpc_options` in its "
            "serve_config.yaml"
        )
