"""A card as a table says all that the card says."""

from serve_app.model.card import Compilation, ModelCard
from serve_app.model.description import describe_card


def lines_of(card: ModelCard) -> list[str]:
    return [" ".join(line.split()) for line in describe_card(card).splitlines()]


def test_everything_that_is_known_is_shown(card: ModelCard) -> None:
    """Sections of the card: model, engine with its proof, features, metrics, libraries, files."""
    lines = lines_of(card)
    agreement = card.compilation.agreement
    assert agreement is not None
    assert lines[0] == f"iris {card.version}"
    assert "classes setosa, versicolor, virginica" in lines
    assert "engine onnx" in lines
    assert f"rows compared {agreement.rows_compared:,}" in lines
    assert "sepal_length 4.3 to 7.9 cm" in lines
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
    assert "sepal_length 4.3 to 7.9" in lines
    start = lines.index("engine sklearn")
    assert lines[start + 1 : start + 3] == ["reason no compiled form agrees", ""]
