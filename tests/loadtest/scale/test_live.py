"""The run in the terminal."""

import io
import re

from loadtest.scale.live import HEADER, LEGEND, LiveTable
from loadtest.scale.samples import Snapshot


class Terminal(io.StringIO):
    """A terminal that keeps what was written to it."""

    def isatty(self) -> bool:
        return True


LARGE = Snapshot(
    seconds=1234.0,
    users=10_000,
    offered_rps=100_000.0,
    rps=99_999.0,
    failures=99_999,
    p50_ms=1234.0,
    p99_ms=12_345.0,
    utilisation=1.0,
    replicas_desired=100,
    replicas_running=100,
    nodes_desired=10,
    nodes_running=10,
)


def test_a_log_gets_a_line_now_and_then() -> None:
    """No control characters, one line in ten seconds, and what is waited for once a phase."""
    output = io.StringIO()
    table = LiveTable(output)
    for second in range(25):
        table.show(Snapshot(float(second)), "the load" if second < 15 else "the scale-in")
    waiting, legend, header, *rows = output.getvalue().splitlines()
    assert (waiting, legend, header) == ("waiting for the load", LEGEND, HEADER)
    assert [text.split()[0] for text in rows] == ["0", "10", "waiting", "20"]
    assert "\x1b" not in output.getvalue()


def test_a_terminal_gets_a_table_that_stays_in_place() -> None:
    """Each table is drawn over the one before; it never grows beyond a dozen rows."""
    output = Terminal()
    table = LiveTable(output)
    for second in range(30):
        table.show(Snapshot(float(second), replicas_desired=3, replicas_running=2), "the load")
    moves = [int(up) for up in re.findall(r"\x1b\[(\d+)A", output.getvalue())]
    assert moves[:3] == [4, 5, 6]
    assert max(moves) == moves[-1] == 15
    assert "2/3" in output.getvalue()


def test_the_table_fits_80_columns() -> None:
    """Also with large numbers, whose columns stay apart; a line under it explains blank cells."""
    for output in (Terminal(), io.StringIO()):
        LiveTable(output).show(LARGE, "the scale-in, until second 1234 at most")
        lines = output.getvalue().replace("\x1b[2K", "").splitlines()
        assert max(map(len, lines)) <= 80
        (row,) = (text for text in lines if "100/100" in text)
        assert len(row.split()) == 10
        assert any("blank" in text for text in lines)
