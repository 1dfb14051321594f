"""Trained models in the forms that the systems need, with their sample request."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.model.artifact import Artifact
from serve_app.model.card import ModelCard
from serve_app.packaging.recipes import ESTIMATORS, MINIMUM_ACCURACY, SEED, make_estimator
from serve_app.packaging.train import train

MODEL_NAMES = dict(zip(("lr", "rf"), ESTIMATORS, strict=True))
"""As they stand in the names of the systems, to what is trained."""


@dataclass(frozen=True)
class BenchModel:
    """A trained model."""

    name: str
    """One of `MODEL_NAMES`."""
    directory: Path
    frame_model: Path
    """The same estimator fitted on a DataFrame, as the predecessor has it."""
    card: ModelCard

    @property
    def answer(self) -> dict[str, Any]:
        """The right answer to the sample."""
        return {**self.card.sample.answer, "model_version": self.card.version}


def train_models(scratch: Path) -> list[BenchModel]:
    """Train and package one model of each kind below ``scratch``."""
    models = []
    for name, estimator in MODEL_NAMES.items():
        directory, frame_model = scratch / name, scratch / f"{name}-frame.joblib"
        train(directory, estimator=estimator, minimum_accuracy=MINIMUM_ACCURACY)
        card = Artifact.open(directory).card
        _fit_on_frame(estimator, card, frame_model)
        models.append(BenchModel(name, directory, frame_model, card))
    return models


def _fit_on_frame(estimator: str, card: ModelCard, destination: Path) -> None:
    """Fit on the rows that `train` takes, as a DataFrame with the card's columns."""
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split

    iris = load_iris(as_frame=True)
    labels = iris.target_names[iris.target].astype(object)
    frame = iris.data.set_axis(list(card.feature_names), axis=1)
    rows, _, labels, _ = train_test_split(
        frame, labels, test_size=0.2, stratify=labels, random_state=SEED
    )
    joblib.dump(make_estimator(estimator).fit(rows, labels), destination)
