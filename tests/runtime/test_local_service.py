"""A service of its own on this machine: refused configs, and signals that ask it to stop."""

import subprocess
import sys

import pytest

from serve_app.runtime.local_service import LaunchError, LocalService, Progress, StopRequest

WAITS_WHILE_ANOTHER_THREAD_IS_INTERRUPTED = """
import signal, threading, time
from serve_app.runtime.local_service import StopRequest, stop_on_signals

def interrupt():
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), signal.{name})

stop = StopRequest()
stop_on_signals(stop)
threading.Thread(target=interrupt).start()
assert stop.wait()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_that_wakes_another_thread_is_not_lost(name: str) -> None:
    """The kernel may choose any thread; of two signals in one moment it often chooses another."""
    code = WAITS_WHILE_ANOTHER_THREAD_IS_INTERRUPTED.format(name=name)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_nobody_asked_to_stop() -> None:
    """Without a signal the wait ends in time and says so."""
    assert not StopRequest().wait(0.01)


def test_a_config_that_serve_does_not_know_is_refused() -> None:
    """One line names the field, before any process is started."""
    config = {"http_options": {"port": "eighty"}, "applications": []}
    service = LocalService(config, dashboard=False, progress=Progress())
    with pytest.raises(LaunchError, match=r"^Serve config, http_options\.port: "):
        service.start()
