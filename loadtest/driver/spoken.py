"""Checks once, before the load, that the service speaks the protocol that the users will speak.

Otherwise every request would fail, with a status that names no fix.
"""

from loadtest.driver.grpc_channel import GrpcChannel
from loadtest.driver.options import GRPC, V2
from serve_app.client import ServiceClient, ServiceError
from serve_app.grpc.names import INFERENCE

SECONDS = 5.0


def require_protocol(protocol: str, host: str, grpc_address: str, model: str) -> None:
    """Check that the service answers for ``model`` in a protocol.

    Args:
        protocol: one of the option's choices.
        host: address of the service.
        grpc_address: host and port of its gRPC.
        model: name of the model that it announces.

    Raises:
        ServiceError: it does not; names the option or setting that is wrong.
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

    body = pb2.ModelReadyRequest(name=model).SerializeToString()
    channel = GrpcChannel(address)
    try:
        _, status = channel.call(f"/{INFERENCE}/ModelReady", body, {}, SECONDS)
    finally:
        channel.close()
    if status is not None:
        raise ServiceError(
            f"--protocol {GRPC}: {address} answered {status} for model {model}; name the right "
            "HOST:PORT with --grpc-address, or give it gRPC by `grpc_options` in its "
            "serve_config.yaml"
        )
