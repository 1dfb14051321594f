"""``serve-app simulate``."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from serve_app.cli.style import (
    ABOVE_ZERO,
    COUNT,
    COUNT_OR_NONE,
    FILE,
    SHARE,
    ZERO_OR_MORE,
    Command,
    config_option,
    extra,
    section,
)
from serve_app.errors import UserError

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

SHOWN_STEPS = 1_000
"""Steps between two changes of the progress bar."""

_traffic = section("Traffic")
_replica = section("One replica")
_autoscaling = section("Autoscaling, in place of the config's")
_output = section("Output")


def _autoscaling_options(command: Any) -> Any:
    for name, kind in reversed(AUTOSCALING.items()):
        command = _autoscaling(f"--{name.replace('_', '-')}", type=kind)(command)
    return command


@click.command(
    cls=Command,
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
    for path in filter(None, (image, csv_file)):
        if not path.parent.is_dir():
            # Before the simulation, which would be for nothing.
            raise UserError(f"{path} cannot be written: there is no directory {path.parent}")
    with extra("load"):
        from loadtest.capacity.replica_model import ReplicaModel
        from loadtest.driver.curve import read_curve
        from loadtest.simulate import simulation, summary
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
        traffic,
        scaling.autoscaling,
        scaling.targets,
        replica,
        step_seconds=step_seconds,
        watched=_with_progress,
    )
    click.echo(summary.describe(simulated, replica, scaling.cpu_target))
    if csv_file is not None:
        summary.write_csv(csv_file, simulated)
    if image is not None:
        summary.draw(simulated, scaling.cpu_target, image)


def _with_progress(rates: Sequence[float]) -> Iterator[float]:
    """Show how far the simulation is; on standard error, because the result may be piped."""
    with click.progressbar(
        rates,
        label=f"simulating {len(rates):,} steps",
        file=sys.stderr,
        update_min_steps=SHOWN_STEPS,
    ) as shown:
        yield from shown
