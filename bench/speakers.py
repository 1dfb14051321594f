"""The contestants of the measure ``protocols``: a server in each protocol that it speaks."""

from collections.abc import Mapping
from dataclasses import replace

from bench.contestants import OWN
from bench.dialects import Dialect, OpenInference
from bench.open_inference import BinaryOpenInference, GrpcOpenInference
from bench.peers import Server
from bench.transports import GRPC

DIALECTS: Mapping[str, Dialect] = {
    "predict": OWN,
    "v2": OpenInference(),
    "binary": BinaryOpenInference(),
    "grpc": GrpcOpenInference(),
}
"""By protocol, as it stands in the names of the contestants."""
SPOKEN: Mapping[str, tuple[str, ...]] = {
    "ours": tuple(DIALECTS),
    # 1.7.1, the newest, has no binary tensors over REST.
    "mlserver": ("v2", "grpc"),
    "kserve": ("v2", "binary", "grpc"),
    "floor": ("grpc",),
}
"""Protocols of each server."""


def speaking(server: Server) -> Server:
    """A server of one model, with a contestant for each of the protocols that it speaks."""
    process, (contestant,) = server
    name = contestant.name.partition("-")[0]
    contestants = []
    for protocol in SPOKEN[name]:
        dialect, url = DIALECTS[protocol], contestant.url
        if dialect.transport is GRPC:
            url = f"http://127.0.0.1:{contestant.grpc_port}"
        spoken = replace(
            contestant,
            name=f"{name}-{protocol}-{contestant.model.name}",
            application=contestant.name,
            url=url,
            dialect=dialect,
            batches=contestant.batches,
        )
        contestants.append(spoken)
    return process, contestants
