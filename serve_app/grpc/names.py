"""Names that HAProxy's config needs, too, where protobuf would cost start-up time."""

MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
"""Path of the method that predicts: ``ModelInfer`` in generated/open_inference_grpc.proto."""
HEALTH = "grpc.health.v1.Health"
"""The standard health service."""
CONTENT_TYPES = frozenset((b"application/grpc", b"application/grpc+proto"))
"""https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md"""
