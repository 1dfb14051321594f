"""Training Iris gives one good model, the same every time, or nothing at all."""

import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.model.artifact import Artifact
from serve_app.packaging.train import MINIMUM_ACCURACY, main


def test_two_trainings_give_the_same_version(iris: Path, tmp_path: Path) -> None:
    """A second process, with another seed of its hashes, writes the very same model."""
    command = [sys.executable, "-m", "serve_app.packaging.train", "--out", "model"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    first, second = Artifact.open(iris).card, Artifact.open(tmp_path / "model").card
    assert first.model_dump() == second.model_dump()
    assert second.version in done.stdout
    assert f"accuracy {second.metrics['test_accuracy']:.3f}" in done.stdout


def test_the_two_estimators_are_two_versions(iris: Path, iris_forest: Path) -> None:
    """Another estimator on the same data is another model."""
    regression, forest = Artifact.open(iris).card, Artifact.open(iris_forest).card
    assert regression.version != forest.version
    assert regression.training_data == forest.training_data
    assert "RandomForestClassifier" in forest.estimator


def test_the_card_tells_units_ranges_and_metrics(iris: Path) -> None:
    """Whoever reads the card knows what to send and how good the model is."""
    card = Artifact.open(iris).card
    assert card.feature_names == ("sepal_length", "sepal_width", "petal_length", "petal_width")
    assert {feature.unit for feature in card.features} == {"cm"}
    assert card.features[0].minimum == 4.3
    assert card.classes == ("setosa", "versicolor", "virginica")
    assert card.metrics["test_accuracy"] >= MINIMUM_ACCURACY
    assert card.metrics["cross_validation_accuracy_mean"] >= MINIMUM_ACCURACY
    assert card.training_data is not None
    assert card.training_data.rows == 120


@pytest.mark.parametrize(("minimum", "shown"), [("1.01", "1.010"), ("nan", "nan")])
def test_a_model_that_is_not_good_enough_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], minimum: str, shown: str
) -> None:
    """Below the minimum nothing is written, and the message gives both numbers and the fix."""
    assert main(["--out", str(tmp_path / "model"), "--minimum-accuracy", minimum]) == 1
    assert not list(tmp_path.iterdir())
    error = capsys.readouterr().err
    assert f"is below {shown}; nothing was written" in error
    assert "--minimum-accuracy" in error


def test_an_existing_model_survives_a_worse_one(iris: Path) -> None:
    """A refused training leaves the model that is there."""
    before = Artifact.open(iris).card
    assert main(["--out", str(iris), "--minimum-accuracy", "1.01"]) == 1
    assert Artifact.open(iris).card == before


def test_other_files_are_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory that holds something else is refused in one line."""
    (tmp_path / "thesis").touch()
    assert main(["--out", str(tmp_path)]) == 1
    assert "name another output directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_a_directory_that_cannot_be_written_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An output directory below one that takes no files is refused without a stack trace."""
    assert main(["--out", "/proc/model"]) == 1
    error = capsys.readouterr().err
    assert "error: /proc/model: expected a directory that can be written" in error
    assert "Traceback" not in error


def test_an_existing_model_can_be_kept(iris: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--if-missing`` does nothing where a model is, so that starting again is quick."""
    changed = (iris / "card.json").stat().st_mtime_ns
    assert main(["--out", str(iris), "--if-missing"]) == 0
    assert "holds a model already" in capsys.readouterr().out
    assert (iris / "card.json").stat().st_mtime_ns == changed
