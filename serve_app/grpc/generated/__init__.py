"""Made by protoc of the published protocol; not edited. How: docs/decisions/0021-grpc.md."""
