"""Other functions in the place of Ray's own, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(module: Any, name: str, function: Any) -> Iterator[None]:
    """Within, a function of one of Ray's modules is another one."""
    before = getattr(module, name)
    setattr(module, name, function)
    try:
        yield
    finally:
        setattr(module, name, before)
