"""The sessions that developers and CI run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def sessions(path: str) -> dict[str, str]:
    """Names and descriptions that ``nox -l`` shows with the programs in ``path``."""
    listed = subprocess.check_output(
        [sys.executable, "-m", "nox", "--list"],
        text=True,
        cwd=ROOT,
        env={**os.environ, "PATH": path},
    )
    return dict(re.findall(r"^[*-] (\S+) -> (.+)$", listed, re.MULTILINE))


@pytest.fixture
def one_python(tmp_path: Path) -> str:
    """A PATH with no other Python than the one that runs."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (tmp_path / name).symlink_to(sys.executable)
    return str(tmp_path)


def test_every_session_is_described() -> None:
    """``nox -l`` says in a line what each session is for."""
    listed = sessions(os.environ["PATH"])
    assert {"serve", "lint", "types", "bench", "scale", "lock"} <= set(listed)
    assert all(text.strip() for text in listed.values())


def test_one_python_is_enough_to_run_every_test(one_python: str) -> None:
    """A machine with one supported Python runs the tests with it, and does not skip them."""
    tests = [name for name in sessions(one_python) if name.startswith("tests")]
    assert tests == [f"tests-{sys.version_info.major}.{sys.version_info.minor}"]
