"""A card as a table says all that the card says."""

from pathlib import Path
from typing import Any

import pytest

from serve_app.model.card import Compilation, Coverage, ModelCard
from serve_app.model.description import describe_card
from serve_app.model.features import Feature
from tests.support.tables import MIXED, categories, mixed_model


def lines_of(card: ModelCard) -> list[str]:
    return [" ".join(line.split()) for line in describe_card(card).splitlines()]


def test_everything_that_is_known_is_shown(card: ModelCard) -> None:
    """Sections of the card: model, engine with its proof, features, metrics, libraries, files."""
    lines = lines_of(card)
    agreement = card.compilation.agreement
    assert agreement is not None
    assert lines[0] == f"iris {card.version}"
    assert "classes setosa, versicolor, virginica" in lines
    assert "engine onnx, operators" in lines
    assert f"rows compared {agreement.rows_compared:,}" in lines
    assert "sepal_length number 4.3 to 7.9 cm" in lines
    assert f"test_accuracy {card.metrics['test_accuracy']:.4g}" in lines
    for name, version in card.libraries.items():
        assert f"{name} {version}" in lines
    for name, digest in card.files.items():
        assert f"{name} SHA-256 {digest}" in lines


def test_what_is_not_known_is_left_out(card: ModelCard) -> None:
    """No empty section; a model that was not compiled has a reason instead of a proof."""
    features = tuple(feature.model_copy(update={"unit": None}) for feature in card.features)
    bare = card.model_copy(
        update={
            "metrics": {},
            "training_data": None,
            "features": features,
            "compilation": Compilation(engine="sklearn", reason="no compiled form agrees"),
        }
    )
    lines = lines_of(bare)
    assert "metrics" not in lines
    assert "training data unknown" in lines
    assert "sepal_length number 4.3 to 7.9" in lines
    start = lines.index("engine sklearn")
    expected = ["reason no compiled form agrees", "needs nothing more", ""]
    assert lines[start + 1 : start + 4] == expected


@pytest.mark.parametrize(
    ("changes", "needs"),
    [
        ({}, "nothing more"),
        ({"estimator_input": "frame"}, "pandas (extra frames)"),
        (
            {"estimator_input": "frame", "libraries": {"pandas": "1", "lightgbm": "1"}},
            "pandas (extra frames), lightgbm (extra lightgbm)",
        ),
        ({"libraries": {"pandas": "1", "catboost": "1"}}, "catboost (extra catboost)"),
    ],
)
def test_what_serving_needs_is_shown(card: ModelCard, changes: dict[str, Any], needs: str) -> None:
    """A compiled model needs nothing, whatever packaged it; pandas is needed for frames only."""
    changes = {"libraries": {"pandas": "3.0.0", "python": "3.12"}} | changes
    assert "needs nothing more" in lines_of(card.model_copy(update=changes))
    itself = {"compilation": Compilation(engine="sklearn", reason="no compiled form")}
    assert f"needs {needs}" in lines_of(card.model_copy(update=changes | itself))


def test_kinds_and_known_values_of_columns_are_shown(tmp_path: Path) -> None:
    """A long list of known values is cut."""
    many = Feature(name="zip", kind="category", categories=categories(*map(str, range(1_012))))
    card = mixed_model().write(tmp_path / "model", fitted_with="1.2.3").card
    lines = lines_of(card.model_copy(update={"features": (*MIXED, many)}))
    assert "age integer 18 to 80 years (may be missing)" in lines
    assert "plan category basic, pro (may be missing)" in lines
    assert "since datetime 2020-01-01 to 2025-12-31T23:59:59 (may be missing)" in lines
    assert "zip category 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1,002 more" in lines
    assert "fitted with scikit-learn 1.2.3" in lines


def test_the_coverage_of_a_proof_is_shown(card: ModelCard) -> None:
    """How much was compared, and the tolerances of numbers."""
    agreement = card.compilation.agreement
    assert agreement is not None
    coverage = Coverage(
        training_rows=120,
        distinct_rows=9_000,
        varying_features=0.75,
        thresholds_probed=50,
        thresholds=2_000,
        boundary_pairs=500,
    )
    numeric = agreement.model_copy(
        update={"coverage": coverage, "relative_tolerance": 1e-6, "largest_difference": 0.0}
    )
    compilation = card.compilation.model_copy(update={"agreement": numeric})
    lines = lines_of(card.model_copy(update={"compilation": compilation}))
    assert "largest difference 0 of at most 1e-05 + 1e-06 of the number" in lines
    assert (
        "coverage 120 training rows, 9,000 distinct rows, 75% of the features vary, "
        "50 of 2,000 tree thresholds, 500 boundary pairs"
    ) in lines
