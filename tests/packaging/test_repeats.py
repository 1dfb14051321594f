"""An estimator answers a row the same each time, alone or among others, or is refused."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from serve_app.packaging.package import package_model
from serve_app.packaging.tables import PackagingError

FRAME = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])


class AboveTheMean(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Compares a row with the mean of those that it is asked for together."""

    def fit(self, rows: Any, labels: Any) -> Self:
        self.classes_ = np.unique(labels)
        self.n_features_in_ = np.shape(rows)[1]
        return self

    def predict(self, rows: Any) -> Any:
        first = np.asarray(rows, dtype=float)[:, 0]
        return self.classes_[(first > first.mean()).astype(int)]


class Standardised(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Has no answer to one row, whose deviation is 0."""

    def fit(self, rows: Any, _targets: Any) -> Self:
        self.n_features_in_ = np.shape(rows)[1]
        return self

    def predict(self, rows: Any) -> Any:
        first = np.asarray(rows, dtype=float)[:, 0]
        return (first - first.mean()) / first.std()


class Dice(Standardised):
    """Answers as it likes."""

    def predict(self, rows: Any) -> Any:
        return np.random.default_rng().random(len(rows))


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (AboveTheMean(), r"AboveTheMean answers \d+ of 20 rows otherwise alone than among others"),
        (Standardised(), r"Standardised does not answer a row alone that it answers among others"),
    ],
)
def test_answers_that_depend_on_the_batch_are_named(
    tmp_path: Path, estimator: Any, message: str
) -> None:
    """A service answers one row or many; the refusal says so, and what to do."""
    estimator.fit(FRAME, (FRAME["a"] > 0).astype(int))
    with pytest.raises(PackagingError, match=message) as refused:
        package_model(estimator, tmp_path / "model", training_data=FRAME)
    assert "its answers depend on the batch; requests have one row or many" in str(refused.value)
    assert not (tmp_path / "model").exists()


def test_answers_that_depend_on_chance_are_named(tmp_path: Path) -> None:
    """They are no matter of the form of the rows."""
    estimator = Dice().fit(FRAME, FRAME["b"])
    with pytest.raises(PackagingError, match=r"Dice answers 60 of 60 rows otherwise when it is"):
        package_model(estimator, tmp_path / "model", training_data=FRAME)
