"""The report: a page that needs nothing else, and a picture of the run."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.image import imread

from loadtest.scale.live import HEADER, LiveTable
from loadtest.scale.report import write_report
from loadtest.scale.samples import Sample

SAMPLES = [
    Sample(
        seconds=float(second),
        users=10,
        offered_rps=10.0,
        rps=9.0,
        requests=9 * second,
        p50_ms=None if second == 0 else 5.0,
        p99_ms=None if second == 0 else 20.0,
        utilisation=0.5,
        replicas_wanted=wanted,
        replicas_running=running,
        nodes_wanted=running,
        nodes_running=running,
    )
    for second, (wanted, running) in enumerate([(1, 1), (2, 1), (2, 2), (1, 2), (1, 1)])
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


def write(directory: Path, *problems: str, samples: list[Sample] = SAMPLES) -> Page:
    path = write_report(
        directory,
        samples,
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
    """Each problem is there; nobody has to look for it in the picture."""
    page = write(tmp_path, "3 of 36 requests failed")
    assert "Failed:" in page.text
    assert "3 of 36 requests failed" in page.text
    assert "Passed" not in page.text


NOTHING = [
    Sample(second, replicas_wanted=0, replicas_running=0, nodes_wanted=0, nodes_running=0)
    for second in (0.0, 1.0)
]


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(SAMPLES, id="run"),
        pytest.param(SAMPLES[:1], id="one"),
        pytest.param([Sample(0.0), Sample(1.0)], id="silence"),
        pytest.param(NOTHING, id="nothing runs"),
    ],
)
def test_the_picture_can_always_be_drawn(tmp_path: Path, samples: list[Sample]) -> None:
    """Even of a run in which nobody said anything; small enough for a README."""
    write(tmp_path, samples=samples)
    content = (tmp_path / "scale.png").read_bytes()
    assert imread(io.BytesIO(content)).shape[1] >= 1000
    assert len(content) < 300_000


class Terminal(io.StringIO):
    """A terminal that keeps what was written to it."""

    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_now_and_then() -> None:
    """No control characters, and one line in ten seconds."""
    output = io.StringIO()
    table = LiveTable(output)
    for second in range(25):
        table.show(Sample(float(second)), "the load")
    lines = output.getvalue().splitlines()
    assert lines[0] == HEADER
    assert [int(text.split()[0]) for text in lines[1:]] == [0, 10, 20]
    assert all("waiting for the load" in text for text in lines[1:])
    assert "\x1b" not in output.getvalue()


def test_a_terminal_gets_a_table_that_stays_in_place() -> None:
    """Each table is drawn over the one before; it never grows beyond a dozen rows."""
    output = Terminal()
    table = LiveTable(output)
    for second in range(30):
        table.show(Sample(float(second), replicas_wanted=3, replicas_running=2), "the load")
    moves = [int(up) for up in re.findall(r"\x1b\[(\d+)A", output.getvalue())]
    assert moves[:3] == [3, 4, 5]
    assert max(moves) == moves[-1] == 14
    assert "2/3" in output.getvalue()
