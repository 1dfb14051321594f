"""Models as the benchmark makes them."""

from pathlib import Path

import pytest

from bench.models import BenchModel, make_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BenchModel]:
    """One whose estimator takes an array, and one whose estimator takes a DataFrame."""
    scratch: Path = tmp_path_factory.mktemp("bench-models")
    return {model.name: model for model in make_models(["lr", "mixed"], scratch)}
