"""Fixtures that several test modules share."""

from pathlib import Path

import pytest

from serve_app.train import MINIMUM_ACCURACY, train


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model directory of the default model: logistic regression on Iris."""
    return _train(tmp_path_factory, "logistic_regression")


@pytest.fixture(scope="session")
def iris_forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model directory of a random forest on Iris."""
    return _train(tmp_path_factory, "random_forest")


def _train(tmp_path_factory: pytest.TempPathFactory, estimator: str) -> Path:
    directory = tmp_path_factory.mktemp("models") / estimator
    train(directory, estimator=estimator, minimum_accuracy=MINIMUM_ACCURACY)
    return directory
