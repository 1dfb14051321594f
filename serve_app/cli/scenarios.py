"""What ``serve-app load`` and ``serve-app scale`` share: the scenarios and the load's options."""

from collections.abc import Callable
from typing import Any

import click

from loadtest.driver.options import LOAD_OPTIONS, LoadOption
from loadtest.driver.scenarios import SCENARIOS
from serve_app.cli.style import COUNT, Command, Decorator, Number, section

SCENARIO = click.Choice(list(SCENARIOS))
SECONDS = Number(min=1)

load_option = section("Load")
check_option = section("Checks")
USERS = load_option("--users", type=COUNT, help="Users at the peak; by default the scenario's.")
LENGTH = load_option(
    "--seconds", type=SECONDS, help="Length of the load; by default the scenario's."
)


class ScenarioCommand(Command):
    """A command whose help describes the scenarios."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the scenarios."""
        super().format_options(ctx, formatter)
        with formatter.section("Scenarios"):
            formatter.write_dl([(name, s.description) for name, s in SCENARIOS.items()])


def of_load(name: str, option: Callable[..., Decorator], **changes: Any) -> Decorator:
    """An option of the load test as one of click."""
    found: LoadOption = LOAD_OPTIONS[name]
    kind: click.ParamType[Any] = click.STRING
    if found.choices:
        kind = click.Choice(found.choices)
    elif isinstance(found.default, int):
        kind = click.IntRange(min=int(found.minimum))
    elif isinstance(found.default, float):
        most = found.maximum if found.maximum <= 1 else None
        kind = Number(min=found.minimum, max=most, min_open=found.above_minimum)
    default = None if found.default == "" else found.default
    return option(found.flag, **{"type": kind, "default": default, "help": found.help, **changes})
