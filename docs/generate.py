"""Prepare the pages of the documentation site: ``python -m docs.generate``.

The sources link to each other as on GitHub, so that they can be read there too. This script copies
them to ``build/docs``, points each link at the page of the site, and fills in what comes from the
code: the command line, the settings, the scenarios of the load test, the Serve config.
"""

import posixpath
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click

from loadtest.driver.scenarios import SCENARIOS
from serve_app.cli.main import cli
from serve_app.settings import Settings, as_typed

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "docs"
WIDTH = 92
"""Characters of a line of ``--help``."""

LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
MARKER = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def site_pages() -> dict[str, str]:
    """Every file that the site shows: its path in the repository, and its path in the site."""
    pages = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
    for path in _files("docs", "*.md", "*.png", "*.css"):
        pages[path] = path.removeprefix("docs/")
    for path in _files("bench/results", "*.md", "*.csv"):
        pages[path] = path.removeprefix("bench/")
    for path in _files("kuberay", "README.md"):
        pages[path] = f"manifests/{path.removeprefix('kuberay/').removesuffix('/README.md')}.md"
    return pages


def _files(directory: str, *patterns: str) -> Iterator[str]:
    for pattern in patterns:
        for path in sorted((ROOT / directory).rglob(pattern)):
            yield path.relative_to(ROOT).as_posix()


def page(source: str, pages: Mapping[str, str], broken: list[str]) -> str:
    """The page that ``source`` becomes: links point into the site, markers are filled in.

    Args:
        source: path in the repository.
        pages: see `site_pages`.
        broken: takes a line for each link to a file that does not exist.
    """
    text = (ROOT / source).read_text(encoding="utf-8")
    fences = [match.span() for match in FENCE.finditer(text)]

    def relink(match: re.Match[str]) -> str:
        in_code = any(start <= match.start() < end for start, end in fences)
        if in_code or "://" in match["target"]:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match["target"]))
        if not (ROOT / target).exists():
            broken.append(f"{source}: {match['target']} does not exist")
        for name in (target, f"{target}/README.md", f"{target}/index.md"):
            if name in pages:
                link = posixpath.relpath(pages[name], posixpath.dirname(pages[source]))
                return f"{match['image']}[{match['text']}]({link}{match['anchor'] or ''})"
        return match["text"]  # a source file: the site does not show it

    return MARKER.sub(lambda match: GENERATED[match[1]](), LINK.sub(relink, text))


def command_reference() -> str:
    """Every command with its help."""
    return "\n".join(_describe_command(cli, click.Context(cli, info_name="serve-app")))


def _describe_command(command: click.Command, parent: click.Context) -> Iterator[str]:
    # A new context for the width; --help would take that of the terminal.
    context = click.Context(
        command,
        parent=parent.parent,
        info_name=parent.info_name,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        show_default=True,
    )
    yield f"{'#' * min(4, 2 + context.command_path.count(' '))} {context.command_path}\n"
    yield f"```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _describe_command(
                    child, click.Context(child, parent=context, info_name=name)
                )


def settings_reference() -> str:
    """A table of the application's arguments."""
    rows = [
        f"| `{name}` | `{as_typed(field.default)}` | {_markdown(field.description or '')} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| argument | default | meaning |", "|---|---|---|", *rows])


def serve_config() -> str:
    """The Serve config, with its comments."""
    text = (ROOT / "serve_config.yaml").read_text(encoding="utf-8")
    return f"```yaml\n{text}```"


def scenarios() -> str:
    """A table of the load test's scenarios."""
    rows = [
        f"| `{name}` | {scenario.description} | {scenario.users} | {scenario.seconds:g} s "
        f"| {'open' if scenario.open_loop else 'closed'} |"
        for name, scenario in SCENARIOS.items()
    ]
    header = "| scenario | load | users at the peak | length | loop |\n|---|---|---|---|---|"
    return "\n".join([header, *rows])


def results() -> str:
    """A list of all measurements, the newest first."""
    found = [path for path in site_pages() if path.startswith("bench/results/")]
    return "\n".join(
        f"- [{path.removeprefix('bench/results/')}]({path.removeprefix('bench/results/')})"
        for path in sorted(found, reverse=True)
    )


def _markdown(docstring: str) -> str:
    return " ".join(docstring.replace("``", "`").split())


GENERATED: Mapping[str, Callable[[], str]] = {
    "commands": command_reference,
    "settings": settings_reference,
    "serve_config": serve_config,
    "scenarios": scenarios,
    "results": results,
}
"""What takes the place of a line ``<!-- generated: NAME -->``."""


def main() -> int:
    """Write all pages to `OUT`; returns the exit code."""
    shutil.rmtree(OUT, ignore_errors=True)
    pages = site_pages()
    broken: list[str] = []
    for source, path in pages.items():
        target = OUT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".md"):
            target.write_text(page(source, pages, broken), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / source, target)
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
