"""What Triton's clients have in common; each has an ``InferInput`` of its own."""

from collections.abc import Sequence
from importlib import metadata
from typing import Any

from studies.clients.arrays import datatype, tensors, tiled
from studies.clients.case import PREDICT, PROBABILITIES, Case
from studies.clients.checks import Checks

VERSION = metadata.version("tritonclient")
MANY, TOO_MANY = 1_000, 60_000
"""Rows that a request may have, and rows whose bytes are more than any request may have."""


def inputs(client: Any, case: Case, **options: Any) -> list[Any]:
    """The inputs of all rows.

    Args:
        client: the module of the client.
        case: what is asked for.
        options: of ``set_data_from_numpy``.
    """
    return [_input(client, name, array, **options) for name, array in tensors(case).items()]


def matrix(client: Any, case: Case, rows: int) -> list[Any]:
    """The input of so many rows of a numeric case."""
    return [_input(client, "rows", tiled(case, rows))]


def _input(client: Any, name: str, array: Any, **options: Any) -> Any:
    made = client.InferInput(name, list(array.shape), datatype(array))
    made.set_data_from_numpy(array, **options)
    return made


def both(client: Any, **options: Any) -> Sequence[Any]:
    """Ask for labels and probabilities."""
    return [client.InferRequestedOutput(name, **options) for name in (PREDICT, PROBABILITIES)]


def answer(result: Any) -> list[Any]:
    """Labels and probabilities of an ``InferResult``."""
    return [result.as_numpy(PREDICT).reshape(-1), result.as_numpy(PROBABILITIES)]


def labels(result: Any) -> Any:
    """Labels of an ``InferResult``."""
    return result.as_numpy(PREDICT).reshape(-1)


def states(server: Any, case: Case, checks: Checks) -> None:
    """Ask whether server and model are there."""
    name, version = case.name, case.version
    checks("is_server_live", server.is_server_live, expected=True)
    checks("is_server_ready", server.is_server_ready, expected=True)
    checks("is_model_ready", lambda: server.is_model_ready(name), expected=True)
    checks("is_model_ready, version", lambda: server.is_model_ready(name, version), expected=True)
