"""The files that Locust writes, and which load test breaks which limit."""

from pathlib import Path

import pytest

from loadtest.driver.results import (
    SENT_AGAIN,
    LoadSummary,
    Moment,
    Thresholds,
    answered_by,
    read_latest,
    read_summary,
)

HEADER = (
    "Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,"
    "99.99%,100%,Total Request Count,Total Failure Count,Total Median Response Time\r\n"
)


def row(timestamp: int, requests: int, *, name: str = "Aggregated", p50: str = "4") -> str:
    return f"{timestamp},10,,{name},9.5,0,{p50},5,5,5,6,7,8,9,9,9,9,{requests},1,4\r\n"


def test_the_newest_whole_line_counts(tmp_path: Path) -> None:
    """Half a line is left until its end has been written; lines of single requests are skipped."""
    prefix, file = tmp_path / "run", tmp_path / "run_stats_history.csv"
    assert read_latest(prefix) is None
    file.write_text(HEADER, newline="")
    assert read_latest(prefix) is None
    second = row(101, 20)
    with file.open("a", newline="") as growing:
        growing.write(row(100, 10) + row(100, 10, name="/predict/") + second[:9])
        growing.flush()
        first = Moment(100, 10, 10, 1, 4.0, 7.0, 9.0)
        assert read_latest(prefix) == first
        assert read_latest(prefix) == first, "nothing new: the last one again"
        growing.write(second[9:])
        growing.flush()
    assert read_latest(prefix) == Moment(101, 10, 20, 1, 4.0, 7.0, 9.0)


def test_percentiles_before_the_first_answer(tmp_path: Path) -> None:
    """Locust writes N/A until there is something to rank."""
    (tmp_path / "run_stats_history.csv").write_text(HEADER + row(100, 0, p50="N/A"), newline="")
    moment = read_latest(tmp_path / "run")
    assert moment is not None
    assert moment.p50_ms is None


def test_summary_of_the_whole_run(tmp_path: Path) -> None:
    """The line on all requests counts; requests that were sent again are counted, too."""
    (tmp_path / "run_stats.csv").write_text(
        "Type,Name,Request Count,Failure Count,Requests/s,50%,99%\r\n"
        f"POST,/predict/,2,2,1,3,4\r\nPOST,{SENT_AGAIN},3,0,1,3,4\r\n"
        f"POST,{answered_by('old', '/predict/')},50,0,1,3,4\r\n"
        f"POST,{answered_by('new', '/predict/')},10,0,1,3,4\r\n"
        f"POST,{answered_by('old', '/predict/batch/')},5,0,1,3,4\r\n"
        ",Aggregated,70,2,12.5,3,40\r\n",
        newline="",
    )
    found = read_summary(tmp_path / "run")
    versions = {"old": 55, "new": 10}
    assert found == LoadSummary(70, 2, 12.5, 3, 40, sent_again=3, versions=versions)
    assert found.answered_by_version == "old (55 x), new (10 x)"


def test_failures_are_told_by_cause(tmp_path: Path) -> None:
    """The most frequent first, over all names of requests, without Locust's own wrapping."""
    (tmp_path / "run_stats.csv").write_text(
        "Type,Name,Request Count,Failure Count,Requests/s,50%,99%\r\n,Aggregated,70,12,1,3,40\r\n",
        newline="",
    )
    (tmp_path / "run_failures.csv").write_text(
        "Method,Name,Error,Occurrences\r\n"
        "POST,/predict/,\"ConnectionRefusedError(111, 'Connection refused')\",2\r\n"
        "POST,/predict/,CatchResponseError('status 503'),7\r\n"
        "POST,/predict/batch/,CatchResponseError('status 503'),3\r\n",
        newline="",
    )
    found = read_summary(tmp_path / "run")
    causes = "10 x status 503, 2 x ConnectionRefusedError(111, 'Connection refused')"
    assert found.failed_by_cause == causes
    assert Thresholds().broken_by(found) == [
        f"12 of 70 requests failed (17.14%); at most 0.00% may: {causes}"
    ]


def test_a_run_that_wrote_nothing_has_no_requests(tmp_path: Path) -> None:
    """Locust was killed before its first line."""
    assert read_summary(tmp_path / "none").requests == 0


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
