"""Train a classifier on Iris and write it as a model directory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from serve_app.errors import CheckFailedError
from serve_app.model.features import Feature
from serve_app.packaging.package import package
from serve_app.packaging.recipes import SEED, make_estimator
from serve_app.packaging.summary import summary


class AccuracyError(CheckFailedError):
    """The trained model is not good enough to be served."""


def train(directory: Path, *, estimator: str, minimum_accuracy: float) -> str:
    """Train, check and package; returns a summary.

    Raises:
        AccuracyError: held-out accuracy below ``minimum_accuracy``; nothing is written.
        ArtifactError: ``directory`` holds something else than a model, or cannot be written.
    """
    from sklearn.datasets import load_iris
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split

    iris = load_iris()
    labels = iris.target_names[iris.target].astype(object)
    train_rows, test_rows, train_labels, test_labels = train_test_split(
        iris.data, labels, test_size=0.2, stratify=labels, random_state=SEED
    )
    model = make_estimator(estimator)
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=SEED)
    with threadpool_limits(limits=1):  # see `package_model`
        scores = cross_val_score(model, train_rows, train_labels, cv=folds)
        model.fit(train_rows, train_labels)
        accuracy = float(model.score(test_rows, test_labels))
    if not accuracy >= minimum_accuracy:  # also where the minimum is no number
        raise AccuracyError(
            f"accuracy {accuracy:.3f} on {len(test_rows)} held-out rows is below "
            f"{minimum_accuracy:.3f}; nothing was written; fix the data or the estimator, or "
            "lower --minimum-accuracy"
        )
    packaged = package(
        model,
        directory,
        features=_iris_features(iris.feature_names, train_rows),
        training_data=train_rows,
        name="iris",
        metrics={
            "test_accuracy": accuracy,
            "test_log_loss": float(log_loss(test_labels, model.predict_proba(test_rows))),
            "cross_validation_accuracy_mean": float(scores.mean()),
            "cross_validation_accuracy_std": float(scores.std()),
        },
    )
    return (
        f"accuracy {accuracy:.3f} on {len(test_rows)} held-out rows, {scores.mean():.3f} +/- "
        f"{scores.std():.3f} in 5-fold cross-validation\n{summary(*packaged)}"
    )


def _iris_features(names: Sequence[str], rows: Any) -> list[Feature]:
    return [
        Feature(
            name=name.removesuffix(" (cm)").replace(" ", "_"),
            unit="cm",
            minimum=float(column.min()),
            maximum=float(column.max()),
        )
        for name, column in zip(names, rows.T, strict=True)
    ]
