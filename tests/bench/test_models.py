"""Models of the benchmark come with real rows and the estimator's own answers."""

import joblib
import pandas as pd
import pytest

from bench.models import BATCH_ROWS, BenchModel


@pytest.mark.parametrize(("name", "takes_frame"), [("lr", False), ("mixed", True)])
def test_rows_and_answers_are_the_estimators(
    name: str, takes_frame: bool, models: dict[str, BenchModel]
) -> None:
    """Different rows, the card's sample first, each with what the estimator answers itself."""
    model = models[name]
    assert model.takes_frame is takes_frame
    assert model.instances[0] == model.card.example
    assert len({str(instance) for instance in model.instances}) > BATCH_ROWS / 2
    table = pd.DataFrame(model.instances)
    found = joblib.load(model.file).predict_proba(table if takes_frame else table.to_numpy())
    assert len(model.answers) == len(found) == BATCH_ROWS
    for answer, expected in zip(model.answers, found, strict=True):
        assert list(answer["probabilities"].values()) == pytest.approx(expected, abs=1e-9)
        assert answer["predicted_class"] == model.classes[expected.argmax()]


def test_the_mixed_model_has_strings_and_gaps(models: dict[str, BenchModel]) -> None:
    """What it is measured for: six numbers, four strings, missing values in the requests."""
    model = models["mixed"]
    kinds = [feature.kind for feature in model.card.features]
    assert kinds == ["number"] * 6 + ["category"] * 4
    assert any(None in instance.values() for instance in model.instances)
    assert model.card.compilation.engine == "onnx"
