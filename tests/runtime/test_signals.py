"""A run that is told to stop stops in order."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from serve_app.runtime.signals import STOPPING, StopRequest, stopped_by_signals

WAITS_WHILE_ANOTHER_THREAD_IS_INTERRUPTED = """
import signal, threading, time
from serve_app.runtime.signals import StopRequest, stop_on_signals

def interrupt():
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), signal.{name})

stop = StopRequest()
stop_on_signals(stop)
threading.Thread(target=interrupt).start()
assert stop.wait()
"""


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
    """After the run, signals do what they did before it."""
    before = [signal.getsignal(number) for number in STOPPING]
    with stopped_by_signals():
        pass
    assert [signal.getsignal(number) for number in STOPPING] == before


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_that_wakes_another_thread_is_not_lost(number: signal.Signals) -> None:
    """The kernel may choose any thread; of two signals in one moment it often chooses another."""
    code = WAITS_WHILE_ANOTHER_THREAD_IS_INTERRUPTED.format(name=number.name)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_without_a_signal_the_wait_ends_in_time() -> None:
    """The answer says that no stop was requested, until one is."""
    stop = StopRequest()
    assert not stop.wait(0.01)
    stop.set()
    assert stop.wait()
