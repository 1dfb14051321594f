"""Training Iris gives one good model, the same every time, or nothing at all."""

import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.model.artifact import Artifact, ArtifactError
from serve_app.model.card import ModelCard
from serve_app.packaging.recipes import ESTIMATORS, MINIMUM_ACCURACY
from serve_app.packaging.train import AccuracyError, train


def test_two_trainings_give_the_same_version(card: ModelCard, tmp_path: Path) -> None:
    """A second process, with another seed of its hashes, writes the very same model."""
    command = [sys.executable, "-m", "serve_app", "train", "--out", "model"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    second = Artifact.open(tmp_path / "model").card
    assert card == second
    assert second.version in done.stdout
    assert f"accuracy {second.metrics['test_accuracy']:.3f}" in done.stdout


def test_the_two_estimators_are_two_versions(card: ModelCard, iris_forest: Path) -> None:
    """Another estimator on the same data is another model."""
    forest = Artifact.open(iris_forest).card
    assert card.version != forest.version
    assert card.training_data == forest.training_data
    assert "RandomForestClassifier" in forest.estimator


def test_the_card_tells_units_ranges_and_metrics(card: ModelCard) -> None:
    """The card alone says what to send and how good the model is."""
    assert card.feature_names == ("sepal_length", "sepal_width", "petal_length", "petal_width")
    assert {feature.unit for feature in card.features} == {"cm"}
    assert card.features[0].minimum == 4.3
    assert card.task.name == "classification"
    assert card.task.classes == ("setosa", "versicolor", "virginica")
    assert card.metrics["test_accuracy"] >= MINIMUM_ACCURACY
    assert card.metrics["cross_validation_accuracy_mean"] >= MINIMUM_ACCURACY
    assert card.training_data is not None
    assert card.training_data.rows == 120


@pytest.mark.parametrize(("minimum", "shown"), [(1.01, "1.010"), (float("nan"), "nan")])
def test_a_model_that_is_not_good_enough_is_not_written(
    iris: Path, card: ModelCard, minimum: float, shown: str
) -> None:
    """Below the minimum the old model stays; the message gives both numbers and the fix."""
    message = rf"is below {shown}; nothing was written; .* lower --minimum-accuracy"
    with pytest.raises(AccuracyError, match=message):
        train(iris, estimator=ESTIMATORS[0], minimum_accuracy=minimum)
    assert Artifact.open(iris).card == card


def test_other_files_are_not_replaced(tmp_path: Path) -> None:
    """A directory that holds something else is refused."""
    (tmp_path / "thesis").touch()
    with pytest.raises(ArtifactError, match="name another output directory"):
        train(tmp_path, estimator=ESTIMATORS[0], minimum_accuracy=0)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]
