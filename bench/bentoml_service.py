"""BentoML's service for the bench's models: ``bentoml serve bench.bentoml_service:Models``.

It runs in an environment of its own, which has nothing of this project. ``$BENCH_MODELS`` is a JSON
object with the file of each estimator. Requests are batched adaptively, as BentoML advises. Arrays
where the estimator takes one; records for the pipeline that selects columns by name, because a
DataFrame as batched input makes BentoML 1.4.40 hang (its ``get_batch_size`` returns the shape).
"""

import json
import os
from typing import Any

import bentoml  # type: ignore[import-not-found]
import joblib
import numpy as np
import pandas as pd

MODELS: dict[str, str] = json.loads(os.environ["BENCH_MODELS"])


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Models:
    """Answers the probabilities of the classes."""

    def __init__(self) -> None:
        """Load the estimators."""
        self._models: dict[str, Any] = {name: joblib.load(path) for name, path in MODELS.items()}

    @bentoml.api(batchable=True)  # type: ignore[untyped-decorator]
    def lr(self, rows: np.ndarray) -> np.ndarray:
        """Rows of Iris."""
        return self._probabilities("lr", rows)

    @bentoml.api(batchable=True)  # type: ignore[untyped-decorator]
    def hgb(self, rows: np.ndarray) -> np.ndarray:
        """Rows for the boosted model."""
        return self._probabilities("hgb", rows)

    @bentoml.api(batchable=True)  # type: ignore[untyped-decorator]
    def mixed(self, rows: list[dict[str, Any]]) -> np.ndarray:
        """Rows of numbers and strings."""
        return self._probabilities("mixed", pd.DataFrame(rows))

    def _probabilities(self, name: str, rows: Any) -> np.ndarray:
        found: np.ndarray = self._models[name].predict_proba(rows)
        return found
