"""Train a classifier on Iris and write it as a model directory."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from serve_app.model.artifact import CARD_FILE, ArtifactError
from serve_app.model.card import Feature
from serve_app.package import package_model, summary

MINIMUM_ACCURACY = 0.9
"""Accuracy on the held-out rows below which no model is written; 0.33 is chance."""
SEED = 0
ESTIMATORS = ("logistic_regression", "random_forest")


class AccuracyError(Exception):
    """The trained model is not good enough to be served."""


def train(directory: Path, *, estimator: str, minimum_accuracy: float) -> str:
    """Train, check and package; returns a summary for people.

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
            f"{minimum_accuracy:.3f}; nothing was written: mend the data or the estimator, or "
            "lower --minimum-accuracy"
        )
    card = package_model(
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
        f"{scores.std():.3f} in 5-fold cross-validation\n{summary(card, directory)}"
    )


def make_estimator(name: str) -> Any:
    """One of `ESTIMATORS`, not yet fitted."""
    if name == "random_forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(n_estimators=100, random_state=SEED)
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=SEED))


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m serve_app.train", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("model"), help="directory to write (default: %(default)s)"
    )
    parser.add_argument(
        "--estimator",
        choices=ESTIMATORS,
        default=ESTIMATORS[0],
        help="what to train (default: %(default)s)",
    )
    parser.add_argument(
        "--minimum-accuracy",
        type=float,
        default=MINIMUM_ACCURACY,
        help="refuse to write a model below it (default: %(default)s)",
    )
    parser.add_argument(
        "--if-missing", action="store_true", help="do nothing if there is a model already"
    )
    options = parser.parse_args(arguments)
    if options.if_missing and (options.out / CARD_FILE).exists():
        print(f"{options.out} holds a model already")
        return 0
    try:
        report = train(
            options.out, estimator=options.estimator, minimum_accuracy=options.minimum_accuracy
        )
    except (AccuracyError, ArtifactError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
