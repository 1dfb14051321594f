"""How every command ends: 0, 1, 2 or 130, and never with a traceback."""

import importlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from serve_app.cli.main import main, run
from serve_app.cli.style import ABOVE_ZERO, SHARE, Number, extra
from serve_app.errors import CheckFailedError, UserError
from tests.support.command_lines import refused


def raising(error: BaseException) -> click.Command:
    """A command that ends with ``error``."""

    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (CheckFailedError("p99 is 300 ms"), 1, "FAILED: p99 is 300 ms"),
        (UserError("no such model"), 2, "error: no such model"),
        (PermissionError(13, "Permission denied", "/x"), 2, "error: [Errno 13] Permission denied"),
        (click.ClickException("no model"), 2, "error: no model"),
        (KeyboardInterrupt(), 130, "interrupted; everything that was started is stopped"),
        (click.Abort(), 130, "interrupted; everything that was started is stopped"),
    ],
)
def test_every_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every error that a user can cause; standard output stays clean."""
    assert run(raising(error), []) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()  # click ends the line that shows ^C
    assert line.startswith(message)


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Ctrl-C as in a terminal; what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_an_interrupted_import_is_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    """Libraries make another error of Ctrl-C, and so do commands that load files."""

    @click.command()
    def command() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise UserError("cannot load: ImportError: initialization failed") from None

    before = signal.getsignal(signal.SIGINT)
    assert run(command, []) == 130
    assert capsys.readouterr().err.startswith("interrupted")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_defect_is_not_hidden() -> None:
    """Other exceptions are mistakes of this project: they keep their traceback."""
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()), [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sreve"], "error: No such command 'sreve'.*; see serve-app --help"),
        (["serve", "--prot", "1"], "error: No such option.*--prot.*; see serve-app serve --help"),
        (["serve", "--port", "0"], "error: .*'--port': 0 is not in .*; see serve-app serve --help"),
        (["traces", "chek"], "error: No such command 'chek'.*; see serve-app traces --help"),
        (["package"], "error: Missing argument 'ESTIMATOR'.*; see serve-app package --help"),
    ],
)
def test_a_wrong_command_line_is_told_where_help_is(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is started; exit code 2."""
    assert re.fullmatch(message, refused(main, arguments, capsys))


@pytest.mark.parametrize(
    ("number_type", "text"),
    [(ABOVE_ZERO, "0"), (ABOVE_ZERO, "nan"), (ABOVE_ZERO, "inf"), (SHARE, "1.1"), (SHARE, "x")],
)
def test_numbers_are_finite_and_in_range(
    number_type: Number, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the option and what was given."""

    @click.command("x")
    @click.option("--number", type=number_type)
    def command(number: float) -> None:
        raise AssertionError(f"{number} was taken")

    line = refused(lambda arguments: run(command, arguments), ["--number", text], capsys)
    assert "--number" in line
    assert text in line


def test_a_missing_extra_is_named() -> None:
    """A library that is not installed: the line says which extra brings it."""
    with (
        pytest.raises(UserError, match=r"needs nolib, .* install serve-app\[load\]"),
        extra("load"),
    ):
        importlib.import_module("nolib")


def test_a_missing_module_of_ours_is_a_defect() -> None:
    """No extra brings it."""
    with pytest.raises(ModuleNotFoundError), extra("load"):
        importlib.import_module("loadtest.nowhere")


@pytest.mark.parametrize(
    "start",
    [
        pytest.param([sys.executable, "-m", "serve_app"], id="python -m serve_app"),
        pytest.param(
            [sys.executable, "-c", "import sys; from serve_app.cli.main import main; main()"],
            id="serve-app",
        ),
    ],
)
def test_a_reader_that_has_gone_is_no_traceback(start: list[str]) -> None:
    """As when head has seen enough: what could not be written is not complained about."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*start, "--help"], stdout=write, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(write)
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr
