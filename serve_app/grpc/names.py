"""Names that HAProxy's config needs, too, where protobuf would cost start-up time."""

INFERENCE = "inference.GRPCInferenceService"
"""The protocol's service: generated/open_inference_grpc.proto."""
MODEL_INFER = f"/{INFERENCE}/ModelInfer"
"""Path of the method that predicts."""
HEALTH = "grpc.health.v1.Health"
"""The standard health service."""
CONTENT_TYPES = frozenset((b"application/grpc", b"application/grpc+proto"))
"""https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md"""
