"""``serve-app serve``."""

import ipaddress
from pathlib import Path

import click

from serve_app.cli.style import PORT, Command, config_option


class _ServeCommand(Command):
    """Lists the application's arguments, which pydantic knows, only when help is asked for."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from serve_app.settings import Settings, as_typed

        rows = [
            (name, f"{field.description}  [default: {as_typed(field.default)}]")
            for name, field in Settings.model_fields.items()
        ]
        super().format_options(ctx, formatter)
        with formatter.section("Arguments, as key=value"):
            formatter.write_dl(rows)


class _Address(click.ParamType[str]):
    """An IPv4 address; HAProxy's config, in which it ends, has no place for more."""

    name = "address"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The address, checked."""
        try:
            return str(ipaddress.IPv4Address("127.0.0.1" if value == "localhost" else value))
        except ValueError:
            self.fail(f"{value!r} is no IPv4 address, such as 127.0.0.1 or 0.0.0.0", param, ctx)


@click.command(cls=_ServeCommand, example="serve-app serve model_dir=model max_rows=500")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@config_option
@click.option(
    "--host",
    type=_Address(),
    default="127.0.0.1",
    help="Address on which to listen; 0.0.0.0 is every network of this machine.",
)
@click.option("--port", type=PORT, help="HTTP port, in place of the config's.")
@click.option(
    "--grpc-port",
    type=PORT,
    help="gRPC port, in place of the config's; with --port alone it moves as far as that.",
)
@click.option(
    "--no-dashboard",
    is_flag=True,
    help="Do without the Ray dashboard: 300 MB less memory.",
)
def serve(
    arguments: tuple[str, ...],
    config_file: Path | None,
    host: str,
    port: int | None,
    grpc_port: int | None,
    *,
    no_dashboard: bool,
) -> None:
    """Serve the model in production mode on this machine, until Ctrl-C or SIGTERM drains it."""
    from serve_app.runtime.launch import Launch, launch
    from serve_app.serve_config import ServeConfig, find_config

    config = ServeConfig.read(find_config(config_file), arguments)
    launch(Launch(config, host=host, port=port, grpc_port=grpc_port, dashboard=not no_dashboard))
