"""Rows of a DataFrame are what a request could have sent."""

import numpy as np
import pandas as pd

from serve_app.packaging.features import infer_features
from serve_app.packaging.rows import encode
from serve_app.packaging.steps import Facts


def test_rows_hold_what_requests_can_send() -> None:
    """Numbers alone make a float array; else each cell is a plain value, or None."""
    numbers = pd.DataFrame({"a": [1.5, np.nan], "b": [True, False], "c": pd.Categorical([10, 20])})
    facts = {name: Facts() for name in numbers}
    rows = encode(numbers, infer_features(numbers, facts, {}))
    assert rows.dtype == np.float64
    assert rows[0].tolist() == [1.5, 1, 10]
    assert np.isnan(rows[1, 0])

    mixed = numbers.assign(
        d=["x", None],
        e=pd.array([7, None], dtype="Int64"),
        f=pd.to_datetime(["2026-01-31T12:00+02:00", None]),
    )
    rows = encode(mixed, infer_features(mixed, {name: Facts() for name in mixed}, {}))
    assert rows.tolist() == [
        [1.5, True, 10, "x", 7, "2026-01-31T10:00:00"],
        [None, False, 20, None, None, None],
    ]
    assert [type(value) for value in rows[0]] == [float, bool, int, str, int, str]
