"""A classifier that takes its time, for tests of overload and draining."""

import time
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

MOST_ROWS = 9
"""Of a call that takes its time. Packaging asks for more rows at once, dozens of times."""


class SlowClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts class 1 for positive values of the first column, small batches ``seconds`` later."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def fit(self, rows: Any, labels: Any) -> Self:
        """Learn nothing but the classes."""
        self.classes_ = np.unique(labels)
        self.n_features_in_ = np.shape(rows)[1]
        return self

    def predict(self, rows: Any) -> Any:
        """Classes of ``rows``, shape [rows]."""
        if len(rows) <= MOST_ROWS:
            time.sleep(self.seconds)
        return self.classes_[(np.asarray(rows)[:, 0] > 0).astype(int)]
