"""A model card as a table in a terminal."""

from collections.abc import Iterable

from serve_app.model.artifact import EXTRAS
from serve_app.model.card import Agreement, Coverage, ModelCard
from serve_app.model.features import Feature
from serve_app.model.instances import MAX_EXAMPLES
from serve_app.model.loading import libraries_of


def describe_card(card: ModelCard) -> str:
    """The card in sections of aligned lines."""
    agreement = card.compilation.agreement
    proof = [("reason", card.compilation.reason), ("needs", _needs(card))]
    if agreement is not None:
        proof += [
            ("precision", agreement.precision),
            ("rows compared", f"{agreement.rows_compared:,}"),
            ("answers that differ", f"{agreement.disagreements:,}"),
            ("largest difference", _difference(agreement)),
            ("coverage", coverage_line(agreement.coverage)),
        ]
    route = card.compilation.route
    data = card.training_data
    rows = "unknown" if data is None else f"{data.rows:,} rows, SHA-256 {data.sha256}"
    sections = {
        f"{card.name} {card.version}": [
            ("estimator", card.estimator),
            ("task", card.task.name),
            *card.task.facts().items(),
            ("training data", rows),
        ],
        f"engine {card.compilation.engine}{f', {route}' if route else ''}": proof,
        "features": [(each.name, _values(each)) for each in card.features],
        "metrics": [(name, f"{value:.4g}") for name, value in card.metrics.items()],
        "libraries": list(card.libraries.items()),
        "files": [(name, f"SHA-256 {digest}") for name, digest in card.files.items()],
    }
    if card.fitted_with and card.fitted_with != card.libraries.get("scikit-learn"):
        sections["libraries"].append(("fitted with", f"scikit-learn {card.fitted_with}"))
    return "\n\n".join(_section(title, lines) for title, lines in sections.items() if lines)


def _needs(card: ModelCard) -> str:
    """Libraries that a replica needs beside those of the service."""
    needed = [name for name in libraries_of(card.compilation.engine, card) if name in EXTRAS]
    return ", ".join(f"{name} (extra {EXTRAS[name]})" for name in needed) or "nothing more"


def _difference(agreement: Agreement) -> str:
    absolute, relative = agreement.tolerances
    allowed = f"{absolute:g}" + (f" + {relative:g} of the number" if relative else "")
    return f"{agreement.largest_difference:.3g} of at most {allowed}"


def proof_line(card: ModelCard) -> str | None:
    """What the proof of the compiled form covered, in one line; None without a compiled form."""
    agreement = card.compilation.agreement
    return None if agreement is None else coverage_line(agreement.coverage)


def coverage_line(coverage: Coverage) -> str:
    """What a proof covered, in one line."""
    parts = [
        f"{coverage.training_rows:,} training rows",
        f"{coverage.distinct_rows:,} distinct rows",
        f"{coverage.varying_features:.0%} of the features vary",
    ]
    if coverage.thresholds:
        parts.append(f"{coverage.thresholds_probed:,} of {coverage.thresholds:,} tree thresholds")
    if coverage.boundary_pairs:
        parts.append(f"{coverage.boundary_pairs:,} boundary pairs")
    return ", ".join(parts)


def _values(feature: Feature) -> str:
    """Kind and known values of a column in one line."""
    parts: list[str] = [feature.kind]
    if feature.minimum is not None:
        parts.append(f"{feature.minimum:g} to {feature.maximum:g}")
    if feature.earliest is not None:
        parts.append(f"{feature.earliest} to {feature.latest}")
    if feature.categories:
        shown = ", ".join(map(str, feature.values[:MAX_EXAMPLES]))
        rest = len(feature.values) - MAX_EXAMPLES
        parts.append(shown + (f" and {rest:,} more" if rest > 0 else ""))
    parts += [feature.unit] if feature.unit else []
    parts += ["(may be missing)"] if feature.nullable else []
    return " ".join(parts)


def _section(title: str, lines: Iterable[tuple[str, str]]) -> str:
    lines = list(lines)
    width = max(len(name) for name, _ in lines)
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in lines)])
