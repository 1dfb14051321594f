"""What Triton's clients have in common; each has an ``InferInput`` of its own."""

from collections.abc import Sequence
from importlib import metadata
from typing import Any

from studies.clients.arrays import datatype, tensors
from studies.clients.case import PREDICT, PROBABILITIES, Case

VERSION = metadata.version("tritonclient")


def inputs(client: Any, case: Case, **options: Any) -> list[Any]:
    """The inputs of all rows.

    Args:
        client: the module of the client.
        case: what is asked for.
        options: of ``set_data_from_numpy``.
    """
    made = []
    for name, array in tensors(case).items():
        each = client.InferInput(name, list(array.shape), datatype(array))
        each.set_data_from_numpy(array, **options)
        made.append(each)
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
