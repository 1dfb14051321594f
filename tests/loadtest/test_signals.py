"""A cancelled run stops in order."""

import os
import signal

import pytest

from loadtest.signals import STOPPING, stopped_by_signals


def cancelled_run(number: signal.Signals, log: list[str]) -> None:
    """Is cancelled by ``number``, and by more signals while it stops."""
    with stopped_by_signals():
        try:
            os.kill(os.getpid(), number)
            log.append("went on")
        finally:
            for again in STOPPING:
                os.kill(os.getpid(), again)
            log.append("stopped everything")


@pytest.mark.parametrize("number", STOPPING)
def test_the_first_signal_interrupts_and_further_ones_do_not(number: signal.Signals) -> None:
    """What is being stopped must not be broken off; afterwards everything is as before."""
    before = [signal.getsignal(number) for number in STOPPING]
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        cancelled_run(number, log)
    assert log == ["stopped everything"]
    assert [signal.getsignal(number) for number in STOPPING] == before
