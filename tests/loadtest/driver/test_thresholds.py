"""Thresholds: which outcome breaks which limit."""

import pytest

from loadtest.driver.thresholds import Outcome, Thresholds


def outcome(requests: int = 1000, failures: int = 0) -> Outcome:
    return Outcome(requests=requests, failures=failures, rps=50.0, p50_ms=5.0, p99_ms=80.0)


@pytest.mark.parametrize(
    ("limits", "result", "words"),
    [
        (Thresholds(), outcome(), []),
        (Thresholds(), outcome(failures=1), ["1 of 1000 requests failed"]),
        (Thresholds(max_failure_share=0.001), outcome(failures=1), []),
        (Thresholds(max_failure_share=0.001), outcome(failures=2), ["at most 0.10%"]),
        (Thresholds(max_p99_ms=80, min_rps=50), outcome(), []),
        (Thresholds(max_p99_ms=79), outcome(), ["p99 is 80 ms"]),
        (Thresholds(min_rps=51), outcome(), ["50.0 requests/s"]),
        (Thresholds(max_p99_ms=79, min_rps=51), outcome(failures=9), ["9 of", "p99", "51.0"]),
        (Thresholds(), outcome(requests=0), ["no request was answered"]),
    ],
)
def test_each_broken_limit_is_named(limits: Thresholds, result: Outcome, words: list[str]) -> None:
    """One sentence for each limit, none for those that hold."""
    broken = limits.broken_by(result)
    assert len(broken) == len(words)
    assert all(word in sentence for word, sentence in zip(words, broken, strict=True))
