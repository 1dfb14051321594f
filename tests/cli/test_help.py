"""``--help`` explains every command at once, with an example that works."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from serve_app.cli.main import SHELLS, cli, main
from serve_app.settings import Settings, as_typed

HEAVY = (
    *("httpx", "joblib", "locust", "matplotlib", "numpy", "opentelemetry", "pandas", "pydantic"),
    *("psutil", "ray", "scipy", "sklearn", "yaml"),
)


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command and group below ``group``, with the words that name it."""
    for name, command in group.commands.items():
        words = f"{path} {name}".strip()
        yield words, command
        if isinstance(command, click.Group):
            yield from commands(command, words)


ALL = dict(commands(cli))
EXECUTABLE = {words: each for words, each in ALL.items() if not isinstance(each, click.Group)}


def parse(command: click.Command, arguments: list[str]) -> None:
    """Parse a command line, but do not run it; its files need not exist."""
    try:
        command.make_context(command.name, arguments)
    except click.BadParameter as error:
        if "does not exist" not in error.message:
            raise


@pytest.mark.parametrize("words", ["", *ALL])
def test_every_command_explains_itself(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its usage and a sentence on what it does; -h is enough, and exit code 0."""
    assert main([*words.split(), "-h"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: serve-app {words}".rstrip())
    sentence, _, _ = ((ALL[words] if words else cli).help or "").partition(".")
    assert " ".join(sentence.split()) in " ".join(shown.split())
    assert "\\b" not in shown


@pytest.mark.parametrize("words", EXECUTABLE)
def test_every_example_is_a_command_line_of_its_command(
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is shown at the end of the help, and every option in it exists."""
    monkeypatch.chdir(tmp_path)
    main([*words.split(), "--help"])
    _, _, shown = capsys.readouterr().out.partition("Example:\n")
    examples = re.findall(rf"serve-app {words}\b([^|&)\n]*)", shown)
    assert examples
    for example in examples:
        parse(EXECUTABLE[words], shlex.split(example))


def test_help_imports_nothing_heavy() -> None:
    """Help, completion and wrong command lines are quick: each command imports what it needs."""
    program = "import sys, serve_app.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.decode().split()}
    assert "click" in loaded
    assert not loaded & set(HEAVY)


def test_the_help_of_serve_names_every_argument(capsys: pytest.CaptureFixture[str]) -> None:
    """Help lists what can be given as key=value, with its default."""
    main(["serve", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        default = re.escape(as_typed(field.default))
        assert re.search(rf"\b{name} .*\[default: {default}\]", shown)
    assert "[default: v2,v1,vertex]" in shown


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The script that is printed asks serve-app itself."""
    assert main(["completion", shell]) == 0
    assert "_SERVE_APP_COMPLETE" in capsys.readouterr().out
