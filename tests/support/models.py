"""Fitted classifiers of many kinds, with the rows that they were fitted on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, LinearSVC

from serve_app.model.artifact import CARD_FILE, Artifact, sha256
from serve_app.model.card import ModelCard
from serve_app.model.features import Feature
from serve_app.model.prediction import Prediction
from serve_app.model.tasks import Classification


class ThresholdClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that no compiler knows: ``high`` where the first column is above 4."""

    classes_ = np.array(["high", "low"])

    def predict(self, rows: Any) -> Any:
        """Classes of ``rows``, shape [rows]."""
        return np.where(np.asarray(rows)[:, 0] > 4, "high", "low")


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier and its training rows, shape [rows, features]."""

    estimator: Any
    rows: NDArray[np.float64]

    @property
    def features(self) -> list[Feature]:
        """One feature per column, named by its position."""
        return [
            Feature(name=f"x{position}", minimum=float(column.min()), maximum=float(column.max()))
            for position, column in enumerate(self.rows.T)
        ]


@dataclass(frozen=True)
class Packaged:
    """A fitted classifier and what packaging made of it."""

    fitted: Fitted
    artifact: Artifact


def fit(estimator: Any, data: Callable[[], Any], *, width: int, named_labels: bool) -> Fitted:
    """Fit ``estimator`` on the first ``width`` columns, with string or integer labels."""
    bunch = data()
    rows = np.ascontiguousarray(bunch.data[:, :width])
    labels = bunch.target_names[bunch.target].astype(object) if named_labels else bunch.target
    return Fitted(estimator.fit(rows, labels), rows)


def difference(found: Prediction, expected: Prediction) -> float:
    """Largest difference of any probability; both must have them."""
    assert found.scores is not None
    assert expected.scores is not None
    return float(np.abs(np.subtract(found.scores, expected.scores)).max())


def scaled(estimator: Any) -> Any:
    """A pipeline that scales before ``estimator``."""
    return make_pipeline(StandardScaler(), estimator)


ESTIMATORS: dict[str, Callable[[], Fitted]] = {
    "logistic_regression": lambda: fit(
        scaled(LogisticRegression()), load_breast_cancer, width=30, named_labels=False
    ),
    "random_forest": lambda: fit(
        RandomForestClassifier(n_estimators=20, random_state=0),
        load_iris,
        width=2,
        named_labels=True,
    ),
    "gradient_boosting": lambda: fit(
        GradientBoostingClassifier(n_estimators=10, random_state=0),
        load_breast_cancer,
        width=30,
        named_labels=True,
    ),
    "svc": lambda: fit(scaled(SVC()), load_iris, width=4, named_labels=True),
    "svc_of_two_classes": lambda: fit(
        scaled(SVC()), load_breast_cancer, width=30, named_labels=False
    ),
    "svc_with_probabilities": lambda: fit(
        scaled(CalibratedClassifierCV(SVC(), ensemble=False)),
        load_breast_cancer,
        width=30,
        named_labels=False,
    ),
    "k_neighbours": lambda: fit(KNeighborsClassifier(), load_iris, width=2, named_labels=False),
    "linear_svc": lambda: fit(
        scaled(LinearSVC(random_state=0)), load_breast_cancer, width=30, named_labels=True
    ),
    "ridge": lambda: fit(RidgeClassifier(), load_iris, width=4, named_labels=False),
    "perceptron": lambda: fit(
        scaled(Perceptron()), load_breast_cancer, width=30, named_labels=True
    ),
}
"""By name: makes a fitted classifier; together they cover what packaging promises."""

WITHOUT_PROBABILITIES = ("svc", "svc_of_two_classes", "linear_svc", "ridge", "perceptron")


def overflowing() -> Fitted:
    """A classifier that has no finite probability for values far from the training data."""
    return fit(
        make_pipeline(PolynomialFeatures(12), GaussianNB()),
        load_iris,
        width=2,
        named_labels=True,
    )


def resign(directory: Path, **fields: Any) -> None:
    """Change fields of the card and give it the digests and the version that follow."""
    card = ModelCard.model_validate_json((directory / CARD_FILE).read_text())
    files = {name: sha256((directory / name).read_bytes()) for name in card.files}
    card = card.model_copy(update={"files": files, **fields}).versioned()
    (directory / CARD_FILE).write_text(card.model_dump_json())


class Untagged:
    """An estimator that knows nothing of scikit-learn."""

    def __init__(self, answers: Any, labels: Any = None) -> None:
        self._answers = answers
        if labels is not None:
            self.classes_ = labels

    def predict(self, rows: Any) -> Any:
        """The answer to each row."""
        return np.asarray(self._answers)[: len(rows)]


def classes(*labels: Any, has_probabilities: bool = True) -> Classification:
    """A task whose labels need not follow the probabilities."""
    return Classification(
        classes=labels, has_probabilities=has_probabilities, labels_follow_probabilities=False
    )
