"""Command lines that refuse bad input."""

from collections.abc import Callable, Sequence

import pytest


def refused(
    main: Callable[[Sequence[str]], int],
    arguments: Sequence[str],
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Run, expect exit code 2, and return the one line of standard error."""
    try:
        code = main(arguments)
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line
