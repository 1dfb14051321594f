"""Rows as arrays, for clients that take these."""

from typing import Any

import numpy as np

from studies.clients.case import Case

DTYPES: dict[type, Any] = {int: np.int64, float: np.float64, bool: np.bool_, str: np.object_}


def tensors(case: Case) -> dict[str, Any]:
    """Arrays of all columns: one array if all are numbers, else one of shape [rows, 1] each."""
    if case.numeric:
        return {"rows": np.array(case.matrix, dtype=np.float64)}
    return {
        name: np.array(case.column(name), dtype=DTYPES[case.column_type(name)]).reshape(-1, 1)
        for name in case.columns
    }


def tiled(case: Case, rows: int) -> Any:
    """The rows of a numeric case again and again, shape [rows, columns]."""
    return np.resize(np.array(case.matrix, dtype=np.float64), (rows, len(case.columns)))


def datatype(array: Any) -> str:
    """V2's name of the type of ``array``."""
    return {"i": "INT64", "f": "FP64", "b": "BOOL", "O": "BYTES"}[array.dtype.kind]
