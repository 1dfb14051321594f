"""What was packaged, as a table that a person can read."""

from pathlib import Path

from serve_app.model.card import ModelCard
from serve_app.model.description import coverage_line
from serve_app.packaging.fresh import Measured, load_in_fresh_process
from serve_app.packaging.tables import names


def summary(card: ModelCard, directory: Path, measured: Measured | None = None) -> str:
    """What was packaged, as a table.

    Args:
        card: of the model.
        directory: where it is.
        measured: what a replica needs; None: the model is loaded in a fresh process to measure it.
    """
    compilation = card.compilation
    engine = compilation.engine
    measured = measured or load_in_fresh_process(directory, (engine,))[engine]
    lines = {
        "task": card.task.name,
        **card.task.facts(),
        "columns": names([f"{each.name} ({each.kind})" for each in card.features]),
        "engine": f"{engine}, {compilation.route or 'the estimator itself'}",
        "reason": compilation.reason,
    }
    if compilation.agreement is not None:
        lines["coverage"] = coverage_line(compilation.agreement.coverage)
    lines["one row"] = f"{measured.row_seconds * 1e6:,.0f} µs"
    lines["replica"] = f"{measured.megabytes:,.0f} MB, loaded in {measured.seconds:.1f} s"
    width = max(map(len, lines))
    table = "\n".join(f"  {title:<{width}}  {text}" for title, text in lines.items())
    return f"{card.name} {card.version} -> {directory}\n{table}"
