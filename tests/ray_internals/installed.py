"""The installed Ray."""

from pathlib import Path

import ray

RAY = Path(ray.__file__).parent
NODE_ID = "a" * 56


def source(path: str) -> str:
    """Text of one of Ray's files; of those that are programs, or start some on import."""
    return (RAY / path).read_text(encoding="utf-8")
