"""Thresholds: which load test breaks which limit."""

import pytest

from loadtest.driver.results import LoadSummary
from loadtest.driver.thresholds import Thresholds


def load(requests: int = 1000, failures: int = 0) -> LoadSummary:
    return LoadSummary(requests=requests, failures=failures, rps=50.0, p50_ms=5.0, p99_ms=80.0)


@pytest.mark.parametrize(
    ("limits", "found", "words"),
    [
        (Thresholds(), load(), []),
        (Thresholds(), load(failures=1), ["1 of 1000 requests failed"]),
        (Thresholds(max_failure_share=0.001), load(failures=1), []),
        (Thresholds(max_failure_share=0.001), load(failures=2), ["at most 0.10%"]),
        (Thresholds(max_p99_ms=80, min_rps=50), load(), []),
        (Thresholds(max_p99_ms=79), load(), ["p99 is 80 ms"]),
        (Thresholds(min_rps=51), load(), ["50.0 requests/s"]),
        (Thresholds(max_p99_ms=79, min_rps=51), load(failures=9), ["9 of", "p99", "51.0"]),
        (Thresholds(), load(requests=0), ["no request was answered"]),
    ],
)
def test_each_broken_limit_is_named(
    limits: Thresholds, found: LoadSummary, words: list[str]
) -> None:
    """One sentence for each limit, none for those that hold."""
    broken = limits.broken_by(found)
    assert len(broken) == len(words)
    assert all(word in sentence for word, sentence in zip(words, broken, strict=True))
