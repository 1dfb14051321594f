"""``serve-app load``, ``scale``, ``plan`` and ``simulate``."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from deploy.sizes import Sizes
from loadtest.driver.options import LOAD_OPTIONS, LoadOption
from loadtest.driver.scenarios import SCENARIOS
from serve_app.cli.style import (
    ABOVE_ZERO,
    COUNT,
    DIRECTORY,
    FILE,
    PORT,
    SHARE,
    ZERO_OR_MORE,
    Command,
    Number,
    config_option,
    extra,
)

SECONDS = Number(min=1)
COUNT_OR_NONE = click.IntRange(min=0)
AT_LEAST_TWO = click.IntRange(min=2)
"""One replica, or one node, never becomes more."""
POSITIVE_SHARE = Number(min=0, min_open=True, max=1)
SCENARIO = click.Choice(list(SCENARIOS))
AUTOSCALING = {
    "min_replicas": COUNT_OR_NONE,
    "max_replicas": COUNT,
    "target_ongoing_requests": ABOVE_ZERO,
    "metrics_interval_s": ABOVE_ZERO,
    "look_back_period_s": ABOVE_ZERO,
    "upscale_delay_s": ZERO_OR_MORE,
    "downscale_delay_s": ZERO_OR_MORE,
    "upscaling_factor": ABOVE_ZERO,
    "downscaling_factor": ABOVE_ZERO,
}
"""Options of Ray's ``autoscaling_config`` that ``simulate`` may replace."""

Decorator = Callable[[Any], Any]


class _SectionOption(click.Option):
    """An option under a heading of its command's help."""

    def __init__(self, *args: Any, section: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.section = section


def _section(name: str) -> Callable[..., Decorator]:
    return partial(click.option, cls=_SectionOption, section=name)


class _LoadtestCommand(Command):
    """A command whose help has its options under headings, and describes the scenarios."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                name = getattr(parameter, "section", "Other options")
                sections.setdefault(name, []).append(record)
        if any(parameter.name == "scenario" for parameter in self.params):
            sections["Scenarios"] = [(name, s.description) for name, s in SCENARIOS.items()]
        for name, rows in sections.items():
            with formatter.section(name):
                formatter.write_dl(rows)


def _of_load(name: str, option: Callable[..., Decorator], **changes: Any) -> Decorator:
    """An option of the load test as one of click."""
    found: LoadOption = LOAD_OPTIONS[name]
    kind: click.ParamType[Any] = click.STRING
    if isinstance(found.default, int):
        kind = click.IntRange(min=int(found.minimum))
    elif isinstance(found.default, float):
        most = found.maximum if found.maximum <= 1 else None
        kind = Number(min=found.minimum, max=most, min_open=found.above_minimum)
    default = None if found.default == "" else found.default
    return option(found.flag, **{"type": kind, "default": default, "help": found.help, **changes})


_load = _section("Load")
_checks = _section("Checks")
USERS = _load("--users", type=COUNT, help="Users at the peak; by default the scenario's.")
LENGTH = _load("--seconds", type=SECONDS, help="Length of the load; by default the scenario's.")


class _LoadCommand(_LoadtestCommand):
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
    "serve-app load open-loop -- --csv run --csv-full-history",
)
@click.argument("scenario", type=SCENARIO, default="baseline", metavar="[SCENARIO]")
@_load("--host", default="http://localhost:8000", help="Address of the service, without a path.")
@USERS
@_of_load("user_rate", _load)
@LENGTH
@_of_load("traceparent_share", _load)
@_load("--processes", type=COUNT, help="Processes that send; one by default.")
@_load("--ui", is_flag=True, help="Start Locust's web UI, in which the load is started.")
@_of_load("model_dir", _checks)
@_of_load("max_failure_share", _checks)
@_of_load("max_p99_ms", _checks)
@_of_load("min_rps", _checks)
@_of_load("curve", _section("Saturation curve"))
@_of_load("curve_replicas", _section("Saturation curve"))
@click.pass_context
def load(ctx: click.Context, /, scenario: str, *, ui: bool, **options: Any) -> None:
    """Load a running service, check every answer, and judge the result.

    SCENARIO is baseline unless given. Exit codes are those of Locust: 0 passed, 1 a check
    failed, 2 the load cannot start. Ctrl-C ends the load early and judges it.
    """
    with extra("load"):
        from loadtest.driver.locust_run import locust_command

        command = locust_command(scenario, headless=not ui, **options)
    # Locust replaces this process, so that it gets its signals and sets its exit code.
    os.execv(command[0], [*command, *ctx.args])  # noqa: S606 - no shell


_local = _section("On a cluster that is started on this machine")
_running = _section("On a cluster that runs already")


@click.command(
    cls=_LoadtestCommand,
    example="serve-app scale --replicas 3\n"
    "serve-app scale --serve-url http://localhost:8000 --dashboard-url http://localhost:8265 "
    "--user-rate 20",
)
@_load("--scenario", type=SCENARIO, default="scale", help="Load over time.")
@USERS
@_of_load(
    "user_rate",
    _load,
    default=None,
    help="Requests per second of each user in open-loop scenarios; by default as many as "
    "--replicas need, or 1 on a cluster that runs already.",
)
@LENGTH
@_of_load("max_p99_ms", _checks)
@_of_load("min_rps", _checks)
@_checks(
    "--settle",
    "settle_seconds",
    type=ZERO_OR_MORE,
    default=120.0,
    help="Longest wait for the scale-in after the load, seconds.",
)
@_local("--replicas", type=AT_LEAST_TWO, default=4, help="Replicas that the peak needs.")
@_local("--max-nodes", type=AT_LEAST_TWO, default=5, help="Worker nodes, of one CPU each.")
@_local("--downscale-delay", "downscale_delay_s", type=ZERO_OR_MORE, default=15.0, help="Seconds.")
@_local(
    "--node-idle",
    "node_idle_s",
    type=ZERO_OR_MORE,
    default=10.0,
    help="Seconds after which an idle node is stopped.",
)
@_local("--port", type=PORT, default=8000, help="HTTP port.")
@_running("--serve-url", help="Address of the service.")
@_running("--dashboard-url", help="Address of the Ray dashboard.")
@_running("--token-file", type=FILE, help="The dashboard's token; or set RAY_AUTH_TOKEN.")
@_running("--namespace", help="Count worker pods and nodes there, with kubectl.")
@click.option("--out", type=DIRECTORY, default=Path("scale-report"), help="Report to write.")
@config_option
@click.option(
    "--cpu-target", type=ABOVE_ZERO, help="CPU utilisation to aim at, in place of the config's."
)
def scale(
    *,
    config_file: Path | None,
    max_p99_ms: float,
    min_rps: float,
    replicas: int,
    max_nodes: int,
    downscale_delay_s: float,
    node_idle_s: float,
    port: int,
    serve_url: str | None,
    dashboard_url: str | None,
    token_file: Path | None,
    namespace: str | None,
    **plan: Any,
) -> None:
    """Load a service and watch it scale: record replicas, nodes and latency, write a report.

    Without --serve-url, on a Ray cluster that is started on this machine: real Ray, its
    autoscaler, Serve in production mode, Locust; only the worker nodes are processes instead of
    machines. Exit code 1: a check failed, or replicas or nodes did not scale out and in.
    """
    if bool(serve_url) != bool(dashboard_url):
        raise click.UsageError("--serve-url and --dashboard-url belong together")
    if replicas > max_nodes:
        raise click.UsageError(
            f"--replicas {replicas}: each needs a node, and there are --max-nodes {max_nodes}"
        )
    with extra("load"):
        from loadtest.driver.thresholds import Thresholds
        from loadtest.scale.plan import OneMachine, RunningService, ScalePlan
        from loadtest.scale.watch import run_scale
    from serve_app.serve_config import ServeConfig, find_config

    place = (
        RunningService(serve_url, dashboard_url, token_file, namespace)
        if serve_url and dashboard_url
        else OneMachine(replicas, max_nodes, downscale_delay_s, node_idle_s, port)
    )
    run_scale(
        ScalePlan(
            config=ServeConfig.read(find_config(config_file)),
            place=place,
            thresholds=Thresholds(max_p99_ms=max_p99_ms, min_rps=min_rps),
            **plan,
        )
    )


_target = _section("Target")
_sizes = _section("Sizes")


@click.command(
    cls=_LoadtestCommand,
    example="serve-app plan --curve steps.csv --rps 5000 --p99-ms 50 "
    "--worker-cpus 3 --node-vcpus 4 --vcpu-hour-price 0.05",
)
@_target("--curve", type=FILE, required=True, help="CSV file that the scenario steps wrote.")
@_target("--rps", type=ABOVE_ZERO, required=True, help="Requests per second to plan for.")
@_target("--p99-ms", type=ABOVE_ZERO, required=True, help="Longest time that 99 % may take, ms.")
@_target("--cpu-target", type=POSITIVE_SHARE, help="CPU utilisation, in place of the config's.")
@_sizes("--worker-cpus", type=ABOVE_ZERO, required=True, help="CPUs of a worker pod.")
@_sizes("--node-vcpus", type=COUNT, required=True, help="vCPUs of a node.")
@_sizes("--vcpu-hour-price", type=ABOVE_ZERO, required=True, help="Price of a vCPU for an hour.")
@_sizes(
    "--reserved-cpus",
    type=ZERO_OR_MORE,
    default=Sizes.reserved_cpus,
    help="CPUs of a node that pods of the system ask for.",
)
@_sizes(
    "--head-nodes",
    type=COUNT_OR_NONE,
    default=Sizes.head_nodes,
    help="Nodes that carry no worker.",
)
@_sizes("--replica-cpus", type=ABOVE_ZERO, help="CPUs of a replica, in place of the config's.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(
    *,
    curve: Path,
    rps: float,
    p99_ms: float,
    cpu_target: float | None,
    replica_cpus: float | None,
    config_file: Path | None,
    as_json: bool,
    **sizes: Any,
) -> None:
    """Plan replicas, pods, nodes and cost from a measured saturation curve.

    The curve is measured against one replica; its last step must be more than the replica can
    answer. With N, the highest rate in requests per second, and F, the file to write:

    \b
      serve-app load steps --users N --max-failure-share 1 --curve F

    docs/decisions/0008-capacity-model.md has the model and its measured error.
    """  # noqa: D301 - \b is for click
    with extra("load"):
        from loadtest.capacity import plan as capacity
        from loadtest.capacity.replica_model import ReplicaModel
        from loadtest.driver.curve import read_curve
    from serve_app.serve_config import ServeConfig, find_config

    scaling = ServeConfig.read(find_config(config_file)).scaling.override({}, cpu_target=cpu_target)
    machines = Sizes(replica_cpus=replica_cpus or scaling.replica_cpus, **sizes)
    model = ReplicaModel.fit(read_curve(curve))
    planned = capacity.plan(model, machines, rps=rps, p99_ms=p99_ms, cpu_target=scaling.cpu_target)
    if as_json:
        click.echo(json.dumps(asdict(planned)))
    else:
        click.echo(capacity.describe(planned, model, machines, scaling.cpu_target))


_traffic = _section("Traffic")
_replica = _section("One replica")
_autoscaling = _section("Autoscaling, in place of the config's")
_output = _section("Output")


def _autoscaling_options(command: Any) -> Any:
    for name, kind in reversed(AUTOSCALING.items()):
        command = _autoscaling(f"--{name.replace('_', '-')}", type=kind)(command)
    return command


@click.command(
    cls=_LoadtestCommand,
    example="serve-app simulate --trace diurnal --peak-rps 1000000 --replica-rps 2000 "
    "--max-replicas 1000 --image day.png",
)
@_traffic(
    "--trace",
    required=True,
    help="diurnal, spike or ramp; or a CSV file with the header seconds,requests_per_second.",
)
@_traffic("--peak-rps", type=ABOVE_ZERO, help="Highest rate of the trace; by default the file's.")
@_traffic("--step-seconds", type=ABOVE_ZERO, default=1.0, help="Length of a step.")
@_replica("--replica-rps", type=ABOVE_ZERO, help="Requests per second that keep it fully busy.")
@_replica("--curve", type=FILE, help="Or the saturation curve to take them from.")
@_replica(
    "--start-seconds",
    type=ZERO_OR_MORE,
    default=15.0,
    help="Until a new replica answers, node and pod included.",
)
@_replica(
    "--queue-seen",
    type=SHARE,
    default=0.0,
    help="Share of the waiting requests that Serve counts as ongoing: 0 in production mode, where "
    "they wait in sockets; 1 in plain mode.",
)
@_autoscaling("--cpu-target", type=ABOVE_ZERO, help="CPU utilisation to aim at, such as 0.6.")
@_autoscaling_options
@_output("--image", type=FILE, help="PNG file to draw.")
@_output("--csv", "csv_file", type=FILE, help="CSV file for every step.")
@config_option
def simulate(
    *,
    trace: str,
    peak_rps: float | None,
    step_seconds: float,
    replica_rps: float | None,
    curve: Path | None,
    start_seconds: float,
    queue_seen: float,
    cpu_target: float | None,
    image: Path | None,
    csv_file: Path | None,
    config_file: Path | None,
    **autoscaling: Any,
) -> None:
    """Simulate how the autoscaling follows hours of traffic, at a size that no test machine has.

    The policy is the service's own, and what surrounds it is Ray Serve's.
    """
    if (replica_rps is None) == (curve is None):
        raise click.UsageError("give either --replica-rps or --curve")
    with extra("load"):
        from loadtest.capacity.replica_model import ReplicaModel
        from loadtest.driver.curve import read_curve
        from loadtest.simulate import report, simulation
        from loadtest.simulate.chart import draw
        from loadtest.simulate.traffic import load_traffic
    from serve_app.serve_config import ServeConfig, find_config

    capacity = replica_rps or ReplicaModel.fit(read_curve(curve or Path())).capacity_rps
    traffic = load_traffic(trace, peak_rps)
    given = {name: value for name, value in autoscaling.items() if value is not None}
    scaling = ServeConfig.read(find_config(config_file)).scaling
    scaling = simulation.starting_with(
        scaling.override(given, cpu_target=cpu_target), float(traffic.rps[0]), capacity
    )
    replica = simulation.ReplicaSpec(capacity, start_seconds, scaling.queue_limit, queue_seen)
    simulated = simulation.simulate(
        traffic, scaling.autoscaling, scaling.targets, replica, step_seconds=step_seconds
    )
    click.echo(report.describe(simulated, replica, scaling.cpu_target))
    if csv_file is not None:
        report.write_csv(csv_file, simulated)
    if image is not None:
        draw(simulated, scaling.cpu_target, image)
