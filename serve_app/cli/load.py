"""``serve-app load``."""

import os
from typing import Any

import click

from serve_app.cli.scenarios import (
    LENGTH,
    SCENARIO,
    USERS,
    ScenarioCommand,
    check_option,
    load_option,
    of_load,
)
from serve_app.cli.style import COUNT, extra, section

SERVICE = "http://localhost:8000"
"""Where `serve-app serve` answers by default."""


class _LoadCommand(ScenarioCommand):
    """Leaves everything after ``--`` in ``ctx.args``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        super().parse_args(ctx, args[:end])
        ctx.args = args[end + 1 :]
        return ctx.args

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- LOCUST OPTIONS]"]


@click.command(
    cls=_LoadCommand,
    example="serve-app load spike --users 200 --max-p99-ms 100\n"
    "serve-app load steps --users 900 --max-failure-share 1 --curve steps.csv\n"
    "serve-app load open-loop --protocol grpc --users 200\n"
    "serve-app load open-loop -- --csv run --csv-full-history",
)
@click.argument("scenario", type=SCENARIO, default="baseline", metavar="[SCENARIO]")
@load_option(
    "--host", default="http://localhost:8000", help="Address of the service, without a path."
)
@of_load("protocol", load_option)
@of_load("grpc_address", load_option)
@USERS
@of_load("user_rate", load_option)
@LENGTH
@of_load("traceparent_share", load_option)
@load_option("--processes", type=COUNT, help="Processes that send; one by default.")
@load_option(
    "--ui",
    is_flag=True,
    help="Start Locust's web UI, in which the load is started: http://localhost:8089.",
)
@of_load("model_dir", check_option)
@of_load("max_failure_share", check_option)
@of_load("max_p99_ms", check_option)
@of_load("min_rps", check_option)
@of_load("curve", section("Saturation curve"))
@of_load("curve_replicas", section("Saturation curve"))
@click.pass_context
def load(ctx: click.Context, /, scenario: str, *, ui: bool, **options: Any) -> None:
    """Load a running service, check every answer, and judge the result.

    SCENARIO is baseline unless given. Exit codes are those of Locust: 0 passed, 1 a check
    failed, 2 the load cannot start. Ctrl-C ends the load early and judges it.
    """
    with extra("load"):
        from loadtest.driver.locust_run import locust_command

        # Locust's own default is every interface, and the UI asks for no password.
        where = {"web_host": "localhost"} if ui else {"headless": True}
        command = locust_command(scenario, **where, **options)
    # Locust replaces this process, so that it gets its signals and sets its exit code.
    os.execv(command[0], [*command, *ctx.args])  # noqa: S606 - no shell
