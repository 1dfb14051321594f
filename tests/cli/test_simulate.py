"""``serve-app simulate`` says what it does."""

import subprocess
import sys


def test_a_simulation_says_what_takes_so_long() -> None:
    """A day takes ten seconds; the result alone is on standard output."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "serve_app", "simulate", "--trace", "spike"),
            *("--peak-rps", "1000", "--replica-rps", "500", "--step-seconds", "60"),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "simulating " in done.stderr
    assert "simulating " not in done.stdout
    assert "replica" in done.stdout
