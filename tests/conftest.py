"""Fixtures that several test modules share."""

import functools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from serve_app.model.artifact import Artifact
from serve_app.model.card import ModelCard
from serve_app.packaging.package import package_model
from serve_app.packaging.recipes import MINIMUM_ACCURACY
from serve_app.packaging.train import train
from serve_app.telemetry.logs import LOGGER_NAME
from tests.support.models import ESTIMATORS, Packaged
from tests.support.tables import Model, mixed_model

# Shared machines are slow at times: how long an example takes proves nothing.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("default")


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model directory of the default model: logistic regression on Iris."""
    return _train(tmp_path_factory, "logistic_regression")


@pytest.fixture(scope="session")
def card(iris: Path) -> ModelCard:
    """Card of the default model."""
    return Artifact.open(iris).card


@pytest.fixture(scope="session")
def iris_forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model directory of a random forest on Iris."""
    return _train(tmp_path_factory, "random_forest")


@pytest.fixture(scope="session")
def mixed() -> Model:
    """A model over columns of every kind."""
    return mixed_model()


@pytest.fixture(scope="session")
def mixed_directory(mixed: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its model directory."""
    return mixed.write(tmp_path_factory.mktemp("mixed") / "model").directory


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


@pytest.fixture
def log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.LogCaptureFixture]:
    """What the application logs, each record once."""
    logger = logging.getLogger(LOGGER_NAME)
    monkeypatch.setattr(logger, "propagate", False)
    caplog.set_level(logging.INFO, logger=LOGGER_NAME)
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def _train(tmp_path_factory: pytest.TempPathFactory, estimator: str) -> Path:
    directory = tmp_path_factory.mktemp("models") / estimator
    train(directory, estimator=estimator, minimum_accuracy=MINIMUM_ACCURACY)
    return directory
