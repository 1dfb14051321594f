"""Time of a model call without HTTP: the compiled model, and the estimator itself."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from bench.models import BATCH_ROWS, BenchModel
from serve_app.model.artifact import Artifact
from serve_app.model.loading import load_predictor

COMPILED, ITSELF = "compiled", "itself"
Calls = tuple[Callable[[int], object], Callable[[int], object]]
"""A call with one row, another each time it is numbered differently, and one with `BATCH_ROWS`."""


def timed_calls(models: Sequence[BenchModel]) -> Iterator[tuple[str, dict[str, float]]]:
    """One round: for each model the compiled form and the estimator, right after each other.

    Yields:
        The system, and medians: ``us`` of a call with one row, ``rows_per_second`` of calls with
        `BATCH_ROWS`; ``rate`` is calls with one row per second.
    """
    from threadpoolctl import threadpool_limits

    from bench.engines import microseconds

    # As in a replica: one CPU, no warnings about how rows are given.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model in models:
            for form, calls in ((COMPILED, _compiled), (ITSELF, _itself)):
                one, many = map(microseconds, calls(model))
                values = {"us": one, "rate": 1e6 / one, "rows_per_second": BATCH_ROWS * 1e6 / many}
                yield f"{form}-{model.name}", values


def _compiled(model: BenchModel) -> Calls:
    """As a replica calls it, from rows to lists of labels and probabilities."""
    predictor, rows = load_predictor(Artifact.open(model.directory), "onnx"), model.rows
    single = [row[np.newaxis] for row in rows]
    return lambda number: predictor.predict(single[number % BATCH_ROWS]), (
        lambda _number: predictor.predict(rows)
    )


def _itself(model: BenchModel) -> Calls:
    """``predict_proba`` with the table that the estimator takes, made beforehand."""
    import joblib
    import pandas as pd

    estimator = joblib.load(model.file)
    table: Any = pd.DataFrame(model.instances) if model.takes_frame else model.rows
    single = [table[place : place + 1] for place in range(BATCH_ROWS)]
    return lambda number: estimator.predict_proba(single[number % BATCH_ROWS]), (
        lambda _number: estimator.predict_proba(table)
    )
