"""The README's figures are those of the last kept run and of today's files."""

import pytest

from bench import readme


def test_the_readme_has_not_drifted() -> None:
    """It shows what ``nox -s generate`` writes."""
    text = readme.README.read_text(encoding="utf-8")
    assert readme.with_figures(text) == text


def test_a_readme_without_the_marks_is_refused() -> None:
    """Figures must not be missing silently."""
    with pytest.raises(ValueError, match="generated: scaling --> 0 times, not once"):
        readme.with_figures("# How fast")


def test_the_capacity_of_a_replica_is_measured() -> None:
    """It is the median of the last kept run, to the hundred."""
    rps = readme.replica_rps(readme.newest_run())
    assert rps % 100 == 0
    assert f"{rps:,}"[:1] in readme.speed(readme.newest_run())
