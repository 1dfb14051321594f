"""Memory of a process with its descendants."""

import psutil

from bench.measures import pss_bytes


def test_memory_is_that_of_all_processes() -> None:
    """Proportional set sizes add up; a process that has gone has none."""
    own = psutil.Process()
    assert 2**20 < pss_bytes([own]) <= own.memory_info().rss
