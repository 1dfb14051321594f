"""``nox -s clients``: which clients ask, and what is said of those that cannot."""

import subprocess
import sys
from pathlib import Path

import pytest

from studies.clients.__main__ import CLIENTS, PROJECT, Client, ask, main, report
from studies.clients.case import Case
from studies.clients.checks import Check

CASE = Case(
    *("http://127.0.0.1:1", "127.0.0.1:2", "/p", "/h", "iris", "1"),
    columns=["x"],
    optional=[],
    numeric=True,
    rows=[{"x": 1.0}],
    labels=["red"],
    probabilities=[[1.0]],
)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "perl"], "there are: plain, triton_http"),
        (["--only", "kserve", "--environments", "."], "`nox -s clients` makes its environment"),
        (["--model", "none"], "--help"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what is wrong and what there is."""
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.parametrize(
    ("script", "saw"),
    [
        ("echo no module named x >&2; exit 1", "no module named x"),
        ("echo hello", "JSONDecodeError"),
    ],
)
def test_a_client_that_does_not_run_is_a_failed_check(
    script: str, saw: str, tmp_path: Path
) -> None:
    """Its table has a row that says why, and the other clients ask."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    (check,) = ask(Client("triton_http", "peers-x"), python, tmp_path / "case.json", CASE)
    assert (check.client, check.call, check.passed) == ("triton_http", "all of iris", False)
    assert saw in check.saw


def test_a_service_that_is_not_there_fails_every_check(tmp_path: Path) -> None:
    """The client's process prints what it saw, each call a failure."""
    file = tmp_path / "case.json"
    CASE.write(file)
    found = ask(Client("plain", ""), Path(sys.executable), file, CASE)
    assert found
    assert not any(each.passed for each in found)


def test_modules_for_other_environments_need_nothing_of_ours() -> None:
    """What a client's process imports of this project runs on the standard library alone."""
    code = "import sys, studies.clients.case, studies.clients.checks; print(*sys.modules)"
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.append({str(PROJECT)!r}); {code}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "serve_app" not in done.stdout
    assert all((PROJECT / f"studies/clients/{each.module}.py").exists() for each in CLIENTS)


def test_the_table_counts_and_shows_every_call() -> None:
    """Clients by models, then each call; a bar in an answer does not end its cell."""
    text = report(
        {
            "iris": [Check("a", "infer", passed=True, saw="x|y"), Check("a", "live", False, "no")],
            "census": [Check("b", "infer", passed=True, saw="z")],
        }
    )
    cells = [[cell.strip() for cell in line.split(" | ")] for line in text.splitlines()]
    flat = [" ".join(row).strip("| ") for row in cells]
    assert "a 1 of 2 -" in flat
    assert "b - 1 of 1" in flat
    assert "iris infer passed x\\|y" in flat
    assert "iris live FAILED no" in flat
