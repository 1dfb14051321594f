"""What takes long is shown, and what never ends is interrupted."""

import threading
import time

import pytest

from serve_app.packaging import progress
from serve_app.packaging.fresh import MEMORY_WARNING, SECONDS_WARNING, Measured, warning_of
from serve_app.packaging.progress import Progress, time_limit


def test_a_step_that_takes_long_is_shown_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once when it has taken some time, and once when it has ended; a short one never."""
    monkeypatch.setattr(progress, "SECONDS", 0.05)
    said: list[str] = []
    shown = Progress(said.append)
    with shown.step("a short step"):
        pass
    with shown.step("a long step"):
        deadline = time.monotonic() + 10
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        assert said == ["a long step ..."]
    assert shown.doing == "a long step"
    assert len(said) == 2
    assert said[1].startswith("a long step: 0.")


def work_forever() -> None:
    while True:
        sum(range(1_000))


def test_what_never_ends_is_interrupted() -> None:
    """Again and again, because what was interrupted may try another way."""
    interrupted = 0
    with time_limit(0.05):
        for _ in range(2):
            with pytest.raises(TimeoutError, match="not done within 0 s of processor time"):
                work_forever()
            interrupted += 1
    assert interrupted == 2
    sum(range(5_000_000))


def test_another_thread_has_no_limit() -> None:
    """Python interrupts the main thread only."""
    done = threading.Event()

    def work() -> None:
        with time_limit(0.01):
            sum(range(5_000_000))
            done.set()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done.is_set()


def test_a_replica_that_needs_much_is_warned_of() -> None:
    """With the figures that were measured."""
    assert warning_of(Measured(1, 300, 1e-5)) is None
    large = warning_of(Measured(1, MEMORY_WARNING + 500, 1e-5))
    assert large is not None
    assert "needs 1,500 MB and takes 1 s" in large
    assert warning_of(Measured(SECONDS_WARNING + 1, 300, 1e-5)) is not None
