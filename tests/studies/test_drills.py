"""What a drill counts, and how its command line refuses; the faults themselves take minutes."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from studies import drills, launcher_drills, surroundings_drills
from studies.drill_load import Load, Result
from studies.drill_service import Drill
from studies.steady_load import Answer
from tests.support.loopback import LoopbackServer, QuietHandler
from tests.support.waiting import wait_until

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def test_only_answers_after_the_fault_count() -> None:
    """A request that was sent before it and answered after it has met it; others have not."""
    answers = [
        Answer(sent=0, answered=1, status="500"),
        Answer(sent=1, answered=3, status="200"),
        Answer(sent=2.5, answered=2.6, status="503"),
        Answer(sent=4, answered=9, status="none"),
        Answer(sent=5, answered=5.1, status="200"),
    ]
    result = Result.of("fault", answers, began=2, notes="note")
    assert result.requests == 4
    assert result.failed == Counter({"503": 1, "none": 1})
    assert result.whole == 2  # the last failure was sent then
    assert result.slowest == 5
    assert result.row == "| fault | 4 | 1 x 503, 1 x none | 2.0 | 5.0 | note |"


def test_no_failure_is_no_failure() -> None:
    """The row says 0, whole at once; without any request, too."""
    result = Result.of("fault", [Answer(1, 2, "200")], began=0)
    assert (result.failed.total(), result.whole) == (0, 0)
    assert result.row == "| fault | 1 | 0 | 0.0 | 1.0 |  |"
    assert Result.of("fault", [], began=0).row == "| fault | 0 | 0 | 0.0 | 0.0 |  |"


def test_notes_are_kept_apart() -> None:
    """Each note of a row is found again."""
    result = Result.of("fault", [], 0)
    assert result.noting("one").notes == "one"
    assert result.noting("one").noting("two").notes == "one; two"


class Moods(LoopbackServer):
    """Answers, refuses with and without Retry-After, and closes, by turns."""

    def __init__(self) -> None:
        turns = iter(range(1000))

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
                turn = next(turns) % 4
                if turn == 0:
                    self.answer(b"answered")
                elif turn == 1:
                    self.send_response(429)
                    self.send_header("Retry-After", "1")
                    self.send_header("content-length", "0")
                    self.end_headers()
                elif turn == 2:
                    self.answer(b"", 429)
                else:
                    self.close_connection = True

        super().__init__(Handler)


@pytest.fixture
def moods() -> Iterator[Moods]:
    with Moods() as server:
        yield server


def test_every_request_becomes_one_answer(moods: Moods) -> None:
    """Each has a status, or the way in which it was lost; Retry-After is looked for."""
    with Load(moods.url, GET, rate=50) as load:
        wait_until(lambda: len(load.answers) >= 8)
    statuses = Counter(answer.status for answer in load.answers)
    assert set(statuses) == {"200", "429", "429, no Retry-After", "lost"}
    assert all(answer.answered >= answer.sent for answer in load.answers)


def test_a_service_that_has_gone_is_refused() -> None:
    """Nothing listens there, which is another failure than a connection that was lost."""
    with LoopbackServer(QuietHandler) as server:
        url = server.url
    with Load(url, GET, rate=50) as load:
        wait_until(lambda: len(load.answers) >= 2)
    assert {answer.status for answer in load.answers} == {"refused"}


def test_a_drill_asks_for_what_it_needs(tmp_path: Path) -> None:
    """Replicas by a config of its own, the dashboard by leaving out the option against it."""
    words = ["serve-app", "serve", "--no-dashboard"]
    plain = Drill("plain", 1, lambda _service, _load: None)
    assert plain.command(words, tmp_path) == words
    two = Drill("two", 1, lambda _service, _load: None, replicas=2, dashboard=True)
    *command, config = two.command(words, tmp_path)
    assert command == ["serve-app", "serve"]
    assert "min_replicas: 2" in Path(config.partition("=")[2]).read_text(encoding="utf-8")
    fixed = Drill("fixed", 1, lambda _service, _load: None, scales=False)
    *_, config = fixed.command(words, tmp_path)
    assert "max_replicas: 1" in Path(config.partition("=")[2]).read_text(encoding="utf-8")


MODULES = pytest.mark.parametrize(
    "module", [drills, launcher_drills, surroundings_drills], ids=lambda m: m.__name__
)


@MODULES
def test_an_unknown_drill_is_refused(module: object, capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error must not look like a drill that found nothing; the names are listed."""
    assert module.main(["--only", "raylets killed"]) == 2  # type: ignore[attr-defined]
    (line,) = capsys.readouterr().err.splitlines()
    assert "no drill has 'raylets killed' in its name; there are: " in line


@MODULES
@pytest.mark.parametrize("arguments", [["--port", "0"], ["--model-dir", __file__], ["what"]])
def test_a_wrong_command_line_starts_nothing(
    module: object, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and no table."""
    assert module.main(arguments) == 2  # type: ignore[attr-defined]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error" in captured.err.lower()


@MODULES
def test_a_missing_model_is_one_line(
    module: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the fix, before anything is started."""
    missing = tmp_path / "missing"
    assert module.main(["--model-dir", str(missing)]) == 2  # type: ignore[attr-defined]
    (line,) = capsys.readouterr().err.splitlines()
    assert str(missing) in line
    assert "serve-app train" in line
