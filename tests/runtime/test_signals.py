"""A cancelled run stops in order."""

import os
import signal
from collections.abc import Iterator

import pytest

from serve_app.runtime.signals import STOPPING, stopped_by_signals


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """The test suite's own, again."""
    before = [(number, signal.getsignal(number)) for number in STOPPING]
    yield
    for number, handler in before:
        signal.signal(number, handler)


def send_both() -> None:
    for number in STOPPING:
        os.kill(os.getpid(), number)


def cancelled_run(number: signal.Signals, log: list[str]) -> None:
    """Is cancelled by ``number``, and by more signals while it stops."""
    with stopped_by_signals():
        try:
            os.kill(os.getpid(), number)
            log.append("went on")
        finally:
            send_both()
            log.append("stopped everything")


@pytest.mark.parametrize("number", STOPPING)
def test_the_first_signal_interrupts_and_further_ones_do_not(number: signal.Signals) -> None:
    """What is being stopped must not be broken off, nor what is said of it afterwards."""
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        cancelled_run(number, log)
    send_both()
    assert log == ["stopped everything"]


def test_without_a_signal_all_is_as_before() -> None:
    """What comes after the run may be interrupted as any program."""
    before = [signal.getsignal(number) for number in STOPPING]
    with stopped_by_signals():
        pass
    assert [signal.getsignal(number) for number in STOPPING] == before
