"""Model calls are timed in both forms, right after each other."""

import pytest

from bench.calls import timed_calls
from bench.models import BenchModel


def test_each_model_is_called_compiled_and_as_it_is(models: dict[str, BenchModel]) -> None:
    """One row and a batch of each, for estimators of an array and of a DataFrame."""
    found = dict(timed_calls(list(models.values())))
    assert list(found) == ["compiled-lr", "itself-lr", "compiled-mixed", "itself-mixed"]
    for values in found.values():
        assert values["us"] > 0
        assert values["rate"] == pytest.approx(1e6 / values["us"])
        assert values["rows_per_second"] > 0
