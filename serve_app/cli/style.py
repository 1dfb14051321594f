"""What all commands have in common: help with an example, types with ranges, missing extras."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from serve_app.errors import UserError

CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}


Decorator = Callable[[Any], Any]


class _SectionOption(click.Option):
    """An option under a heading of its command's help."""

    def __init__(self, *args: Any, section: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.section = section


def section(name: str) -> Callable[..., Decorator]:
    """`click.option` for options under the heading ``name``."""
    return partial(click.option, cls=_SectionOption, section=name)


class Command(click.Command):
    """A command whose help has its options under headings, and ends with an example.

    Args:
        example: one or more command lines.
    """

    def __init__(self, *args: Any, example: str, **options: Any) -> None:
        options.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **options)
        self.example = example

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each under its heading."""
        sections: dict[str, list[tuple[str, str]]] = {}
        options = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        rest = "Other options" if any(hasattr(each, "section") for each in options) else "Options"
        for option in options:
            if record := option.get_help_record(ctx):
                sections.setdefault(getattr(option, "section", rest), []).append(record)
        for name, rows in sections.items():
            with formatter.section(name):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Group(click.Group):
    """A group that lists its commands in the order in which they were added."""

    command_class = Command

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **options)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, as they were added."""
        del ctx
        return list(self.commands)


class Number(click.FloatRange):
    """A finite number within a range; click itself accepts inf and nan."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Convert ``value``, or fail with its name and the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


ABOVE_ZERO = Number(min=0, min_open=True)
ZERO_OR_MORE = Number(min=0)
SHARE = Number(min=0, max=1)
COUNT = click.IntRange(min=1)
COUNT_OR_NONE = click.IntRange(min=0)
PORT = click.IntRange(min=1, max=65535)
FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
DIRECTORY = click.Path(path_type=Path, file_okay=False)


def config_option(command: Any) -> Any:
    """The option ``--config``."""
    return click.option(
        "--config",
        "config_file",
        type=FILE,
        help="Serve config; by default ./serve_config.yaml, else the packaged one.",
        show_default=False,
    )(command)


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Imports within need the extra ``name``.

    Raises:
        UserError: a module is not installed; names the extra that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("serve_app", "loadtest", "deploy"):
            raise
        raise UserError(
            f"this command needs {error.name}, which is not installed; install serve-app[{name}]"
        ) from error
