"""A service of its own on this machine: refused configs, and signals that ask it to stop."""

import subprocess
import sys

import pytest

from serve_app.local_service import LaunchError, LocalService, Progress, StopRequest


def test_signals_that_arrive_together_stop_once() -> None:
    """SIGINT and SIGTERM in one moment, many times over, neither deadlock nor get lost."""
    code = (
        "import os, signal\n"
        "from serve_app.local_service import StopRequest, stop_on_signals\n"
        "for _ in range(200):\n"
        "    stop = StopRequest()\n"
        "    stop_on_signals(stop)\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))\n"
        "    assert stop.wait(5)\n"
    )
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
