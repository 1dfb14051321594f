"""The documentation names commands, options, sessions and metrics that exist."""

import ast
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import serve_app
from docs.check_site import problems
from serve_app.cli.main import cli

ROOT = Path(serve_app.__file__).parents[1]
PAGES = (
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "kuberay").rglob("README.md")),
)
FENCE = re.compile(
    r"^(?P<indent> *)```bash\n(?P<code>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE
)
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
COMMAND = re.compile(r"(?:^|\$\()(?:[A-Z]\w*=\S+ )*serve-app (?P<words>[^#)]*)")
NOX_SESSION = re.compile(r"nox -s (\w+)")
NOX_DEFINITION = re.compile(r'^def (\w+)\(session|^@nox.session\(name="(\w+)"', re.MULTILINE)
ELLIPSIS = "…"
METRIC_TYPES = ("Counter", "Gauge", "Histogram")


class CommandLine(NamedTuple):
    """A command line in the documentation."""

    page: str
    words: tuple[str, ...]
    complete: bool
    """Whether it is to be copied as it stands; a mention in a sentence may leave things out."""


def command_lines(page: Path) -> Iterator[CommandLine]:
    """Every command line of ``serve-app`` on a page: in blocks and in sentences."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    code = [match["code"] for match in FENCE.finditer(text)]
    prose = FENCE.sub("", text)
    code += [block for block in INDENTED.findall(prose) if "serve-app " in block]
    for block in code:
        for line in block.replace("\\\n", " ").splitlines():
            yield from _commands_in(line, name, complete=True)
    for span in INLINE.findall(INDENTED.sub("", prose)):
        yield from _commands_in(span, name, complete=False)


def _commands_in(line: str, page: str, *, complete: bool) -> Iterator[CommandLine]:
    found = COMMAND.search(line.strip())
    if found is not None:
        yield CommandLine(page, tuple(shlex.split(found["words"])), complete)


COMMAND_LINES = sorted({line for page in PAGES for line in command_lines(page)})


def is_placeholder(value: object) -> bool:
    """Whether a reader puts something else there, such as PROJECT or NAME@sha256:DIGEST."""
    return re.search(r"[A-Z]{2}", str(value)) is not None


def problem_of(line: CommandLine) -> str | None:
    """What click would object to, or None; nothing is executed."""
    command: click.Command = cli
    # Click keeps the option --help of the first context that asks for it.
    context = click.Context(cli, info_name="serve-app", **cli.context_settings)
    words = [word for word in line.words if word != ELLIPSIS]
    if words[:1] == ["COMMAND"]:
        return None
    # Everything after it is Locust's.
    words = words[: words.index("--")] if "--" in words else words
    try:
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            _, found, words = command.resolve_command(context, words)
            assert found is not None
            command, context = found, click.Context(found, parent=context, info_name=found.name)
        values, rest, _ = command.make_parser(context).parse_args(words)
        if rest:
            return f"{context.command_path} takes no argument {rest[0]}"
        for parameter in command.params:
            _check(parameter, values.get(parameter.name or ""), context, complete=line.complete)
    except click.UsageError as error:
        return f"{context.command_path}: {error.format_message()}"
    return None


def _check(
    parameter: click.Parameter, value: object, context: click.Context, *, complete: bool
) -> None:
    words = value if isinstance(value, list | tuple) else [value]
    given = [word for word in words if isinstance(word, str)]
    if parameter.required and complete and not given:
        raise click.UsageError(f"needs {parameter.name}", context)
    if not isinstance(parameter.type, click.Path):  # paths need not exist here
        for word in given:
            if not is_placeholder(word):
                parameter.type(word, parameter, context)


@pytest.mark.parametrize(
    "line", COMMAND_LINES, ids=lambda line: f"{line.page}: {' '.join(line.words)}"
)
def test_command_lines_exist(line: CommandLine) -> None:
    """Commands, options and values on the pages are those of the command."""
    assert problem_of(line) is None


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["trian"], "trian"),
        (["train", "--estimators", "x"], "--estimators"),
        (["train", "--estimator", "xgboost"], "xgboost"),
        (["train", "model"], "takes no argument model"),
        (["serve", "--port", "80000"], "80000"),
        (["package"], "needs estimator"),
    ],
)
def test_wrong_command_lines_are_noticed(words: list[str], problem: str) -> None:
    """The check itself refuses unknown commands and options, wrong values, missing arguments."""
    found = problem_of(CommandLine("page", tuple(words), complete=True))
    assert found is not None
    assert problem in found


def test_nox_sessions_exist() -> None:
    """Every session that a page names is in noxfile.py."""
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = set(itertools.chain(*NOX_DEFINITION.findall(noxfile)))
    for page in PAGES:
        named = set(NOX_SESSION.findall(page.read_text(encoding="utf-8")))
        assert named <= sessions, page


def test_a_row_without_its_table_is_noticed(tmp_path: Path) -> None:
    """Markdown makes a paragraph of it, and no error."""
    page = "<table><tr><td>| in a cell</td></tr></table><p>{}</p><p>a sentence</p>"
    (tmp_path / "index.html").write_text(page.format("| 502 | late |\n| 503 | later |"))
    assert list(problems(tmp_path)) == ["index.html: no table has the row | 502 | late |"]
    (tmp_path / "index.html").write_text(page.format("502 | late"))
    assert list(problems(tmp_path)) == []


def test_every_metric_is_described() -> None:
    """The page on metrics has each metric of the application, with all its labels."""
    page = (ROOT / "docs" / "observe.md").read_text(encoding="utf-8")
    rows = {
        row.split("|")[1].strip(" `"): row for row in page.splitlines() if row.startswith("| `")
    }
    metrics = list(_metrics())
    assert len(metrics) >= 4
    for name, labels in metrics:
        row = rows[f"ray_{name}_total"]
        assert all(f"`{label}`" in row for label in labels), name


def _metrics() -> Iterator[tuple[str, list[str]]]:
    """Names and labels of the metrics that the code makes."""
    for path in (ROOT / "serve_app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in METRIC_TYPES
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "metrics"
            ):
                labels = next(each.value for each in node.keywords if each.arg == "tag_keys")
                yield ast.literal_eval(node.args[0]), list(ast.literal_eval(labels))


def test_every_export_failure_is_described() -> None:
    """The page on lost traces has each status for which the service knows a fix."""
    page = (ROOT / "docs" / "traces-that-never-arrive.md").read_text(encoding="utf-8")
    source = (ROOT / "serve_app" / "tracing" / "failures.py").read_text(encoding="utf-8")
    statuses = set(re.findall(r"StatusCode\.([A-Z_]+)", source))
    assert len(statuses) >= 7
    for status in statuses:
        assert f"`{status}`" in page
