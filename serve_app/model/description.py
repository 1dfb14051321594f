"""A model card as a table in a terminal."""

from collections.abc import Iterable

from serve_app.model.card import ModelCard


def describe_card(card: ModelCard) -> str:
    """The card in sections of aligned lines."""
    agreement = card.compilation.agreement
    proof = [("reason", card.compilation.reason)]
    if agreement is not None:
        proof += [
            ("precision", agreement.precision),
            ("rows compared", f"{agreement.rows_compared:,}"),
            ("labels that differ", f"{agreement.label_disagreements:,}"),
            (
                "largest difference",
                f"{agreement.max_probability_difference:.3g} of at most {agreement.tolerance:g}",
            ),
        ]
    data = card.training_data
    rows = "unknown" if data is None else f"{data.rows:,} rows, SHA-256 {data.sha256}"
    sections = {
        f"{card.name} {card.version}": [
            ("estimator", card.estimator),
            ("classes", ", ".join(card.class_names)),
            ("probabilities", "yes" if card.has_probabilities else "no"),
            ("training data", rows),
        ],
        f"engine {card.compilation.engine}": proof,
        "features": [
            (each.name, f"{each.minimum:g} to {each.maximum:g} {each.unit or ''}".rstrip())
            for each in card.features
        ],
        "metrics": [(name, f"{value:.4g}") for name, value in card.metrics.items()],
        "libraries": list(card.libraries.items()),
        "files": [(name, f"SHA-256 {digest}") for name, digest in card.files.items()],
    }
    return "\n\n".join(_section(title, lines) for title, lines in sections.items() if lines)


def _section(title: str, lines: Iterable[tuple[str, str]]) -> str:
    lines = list(lines)
    width = max(len(name) for name, _ in lines)
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in lines)])
