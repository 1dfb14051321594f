"""Why a run did not scale out."""

import pytest

from loadtest.scale.run import too_late
from loadtest.scale.samples import Snapshot


def run(*counts: tuple[int | None, int | None]) -> list[Snapshot]:
    return [
        Snapshot(float(second), replicas_desired=desired, replicas_running=running)
        for second, (desired, running) in enumerate(counts)
    ]


def test_replicas_that_never_came_are_told_from_too_little_load() -> None:
    """They were desired, for long enough to be seen, and nodes did not start meanwhile."""
    (sentence,) = too_late(run((2, 2), (3, 2), (None, None), (4, 2), (2, 2)))
    assert sentence.startswith("more replicas were desired from second 1 to 3, and none became")
    assert "raise --seconds" in sentence


@pytest.mark.parametrize("counts", [((2, 2), (2, 2)), ((2, 2), (3, 3), (3, 2)), ((None, None),)])
def test_nothing_was_late(counts: tuple[tuple[int | None, int | None], ...]) -> None:
    """None was desired, or one came."""
    assert too_late(run(*counts)) == []
