"""The files that Locust writes: the history while it grows, and the summary."""

from pathlib import Path

from loadtest.driver.results import SENT_AGAIN, History, LoadSummary, Moment, read_summary

HEADER = (
    "Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,"
    "99.99%,100%,Total Request Count,Total Failure Count,Total Median Response Time\r\n"
)


def row(timestamp: int, requests: int, *, name: str = "Aggregated", p50: str = "4") -> str:
    return f"{timestamp},10,,{name},9.5,0,{p50},5,5,5,6,7,8,9,9,9,9,{requests},1,4\r\n"


def test_the_newest_whole_line_counts(tmp_path: Path) -> None:
    """Half a line is left until its end has been written; lines of single requests are skipped."""
    history = History(tmp_path / "run")
    file = tmp_path / "run_stats_history.csv"
    assert history.latest() is None
    file.write_text(HEADER, newline="")
    assert history.latest() is None
    second = row(101, 20)
    with file.open("a", newline="") as growing:
        growing.write(row(100, 10) + row(100, 10, name="/predict/") + second[:9])
        growing.flush()
        first = Moment(100, 10, 10, 1, 4.0, 7.0, 9.0)
        assert history.latest() == first
        assert history.latest() == first, "nothing new: the last one again"
        growing.write(second[9:])
        growing.flush()
    assert history.latest() == Moment(101, 10, 20, 1, 4.0, 7.0, 9.0)


def test_percentiles_before_the_first_answer(tmp_path: Path) -> None:
    """Locust writes N/A until there is something to rank."""
    (tmp_path / "run_stats_history.csv").write_text(HEADER + row(100, 0, p50="N/A"), newline="")
    moment = History(tmp_path / "run").latest()
    assert moment is not None
    assert moment.p50_ms is None


def test_summary_of_the_whole_run(tmp_path: Path) -> None:
    """The line on all requests counts; requests that were sent again are counted, too."""
    (tmp_path / "run_stats.csv").write_text(
        "Type,Name,Request Count,Failure Count,Requests/s,50%,99%\r\n"
        f"POST,/predict/,7,0,1,3,4\r\nPOST,{SENT_AGAIN},3,0,1,3,4\r\n"
        ",Aggregated,70,2,12.5,3,40\r\n",
        newline="",
    )
    assert read_summary(tmp_path / "run") == LoadSummary(70, 2, 12.5, 3, 40, sent_again=3)


def test_a_run_that_wrote_nothing_has_no_requests(tmp_path: Path) -> None:
    """Locust was killed before its first line."""
    assert read_summary(tmp_path / "none").requests == 0
