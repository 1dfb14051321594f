"""Fixtures that several test modules share."""

import functools
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from serve_app.model.artifact import Artifact
from serve_app.packaging.package import package_model
from serve_app.packaging.train import MINIMUM_ACCURACY, train
from tests.support.models import ESTIMATORS, Packaged

# Shared machines are slow at times: how long an example takes proves nothing.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("default")


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model directory of the default model: logistic regression on Iris."""
    return _train(tmp_path_factory, "logistic_regression")


@pytest.fixture(scope="session")
def iris_forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model directory of a random forest on Iris."""
    return _train(tmp_path_factory, "random_forest")


@pytest.fixture(scope="session")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Packaged]:
    """Packages a classifier of `ESTIMATORS` by its name, once."""

    @functools.cache
    def package(name: str) -> Packaged:
        fitted = ESTIMATORS[name]()
        directory = tmp_path_factory.mktemp("packaged") / name
        package_model(
            fitted.estimator, directory, features=fitted.features, training_data=fitted.rows
        )
        return Packaged(fitted, Artifact.open(directory))

    return package


def _train(tmp_path_factory: pytest.TempPathFactory, estimator: str) -> Path:
    directory = tmp_path_factory.mktemp("models") / estimator
    train(directory, estimator=estimator, minimum_accuracy=MINIMUM_ACCURACY)
    return directory
