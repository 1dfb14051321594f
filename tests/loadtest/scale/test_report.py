"""The report: a page that needs nothing else, and a picture of the run."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.image import imread

from loadtest.driver.results import LoadSummary
from loadtest.scale.report import write_report
from loadtest.scale.samples import Snapshot

SNAPSHOTS = [
    Snapshot(
        seconds=float(second),
        users=10,
        offered_rps=10.0,
        rps=9.0,
        requests=9 * second,
        p50_ms=None if second == 0 else 5.0,
        p99_ms=None if second == 0 else 20.0,
        utilisation=0.5,
        replicas_desired=desired,
        replicas_running=running,
        nodes_desired=running,
        nodes_running=running,
    )
    for second, (desired, running) in enumerate([(1, 1), (2, 1), (2, 2), (1, 2), (1, 1)])
]


class Page(HTMLParser):
    """Text and addresses of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def write(
    directory: Path,
    *problems: str,
    snapshots: list[Snapshot] = SNAPSHOTS,
    load: LoadSummary | None = None,
) -> Page:
    path = write_report(
        directory,
        snapshots,
        load=load or LoadSummary(),
        problems=problems,
        settings={"scenario": "a <script>", "cluster": "local"},
        caption="all on one machine",
        cpu_target=0.6,
    )
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    """Picture and samples are in it; it asks no server for anything."""
    page = write(tmp_path)
    assert len(page.addresses) == 2
    assert all(address.startswith("data:") for address in page.addresses)
    picture, samples = (base64.b64decode(a.partition(",")[2]) for a in page.addresses)
    assert picture == (tmp_path / "scale.png").read_bytes()
    assert samples == (tmp_path / "samples.csv").read_bytes()


def test_the_page_tells_the_story(tmp_path: Path) -> None:
    """Verdict, numbers, events and settings, whatever characters they have."""
    page = write(tmp_path)
    for words in ("1 → 2 → 1 replicas", "Passed", "replica 2 ready", "36, 0 failed", "a <script>"):
        assert words in page.text
    assert "Failed" not in page.text


def test_the_page_names_what_was_wrong(tmp_path: Path) -> None:
    """Each problem is listed, and the verdict is a failure."""
    page = write(tmp_path, "3 of 36 requests failed")
    assert "Failed:" in page.text
    assert "3 of 36 requests failed" in page.text
    assert "Passed" not in page.text


def test_the_page_tells_what_the_counts_alone_do_not(tmp_path: Path) -> None:
    """Causes of failures, and why there are more requests than were offered."""
    page = write(tmp_path, load=LoadSummary(36, 3, sent_again=4, causes={"status 503": 3}))
    assert "3 x status 503" in page.text
    assert "sent again, and counted twice4: their idle connection" in page.text


NOTHING = [
    Snapshot(second, replicas_desired=0, replicas_running=0, nodes_desired=0, nodes_running=0)
    for second in (0.0, 1.0)
]


@pytest.mark.parametrize(
    "snapshots",
    [
        pytest.param(SNAPSHOTS, id="run"),
        pytest.param(SNAPSHOTS[:1], id="one"),
        pytest.param([Snapshot(0.0), Snapshot(1.0)], id="silence"),
        pytest.param(NOTHING, id="nothing runs"),
    ],
)
def test_the_picture_can_always_be_drawn(tmp_path: Path, snapshots: list[Snapshot]) -> None:
    """Even of a run in which no source answered; small enough for a README."""
    write(tmp_path, snapshots=snapshots)
    content = (tmp_path / "scale.png").read_bytes()
    assert imread(io.BytesIO(content)).shape[1] >= 1000
    assert len(content) < 300_000
