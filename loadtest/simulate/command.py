"""How the autoscaling would follow a day of traffic, at a size that no test machine has.

    serve-app simulate --trace diurnal --peak-rps 1000000 --replica-rps 2000

The policy is the service's own; `loadtest.simulate.autoscaler` says what surrounds it, and
`loadtest.simulate.simulation` what is simplified.
"""

import argparse
import csv
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.command_line import USAGE_ERROR, Parser
from loadtest.driver.curve import read_curve
from loadtest.deployed import Deployed, read_serve_config
from loadtest.capacity.replica_model import ReplicaModel
from loadtest.simulate.simulation import Replicas, Simulation, simulate
from loadtest.simulate.traffic import SHAPES, Traffic, TrafficError, read_trace

OPTIONS = {
    "min_replicas": int,
    "max_replicas": int,
    "target_ongoing_requests": float,
    "metrics_interval_s": float,
    "look_back_period_s": float,
    "upscale_delay_s": float,
    "downscale_delay_s": float,
    "upscaling_factor": float,
    "downscaling_factor": float,
}
"""Options of Ray's autoscaling_config that the command line may replace."""


def load_traffic(trace: str, peak_rps: float | None) -> Traffic:
    """One of `SHAPES`, or a file; ``peak_rps`` stretches it so that its peak is that.

    Raises:
        TrafficError: an unknown shape, a shape without a peak, or no trace in the file.
    """
    if peak_rps is not None and not 0 < peak_rps < math.inf:
        raise TrafficError(f"--peak-rps {peak_rps} must be above 0")
    if trace in SHAPES:
        if peak_rps is None:
            raise TrafficError(f"--trace {trace} needs --peak-rps, its highest rate")
        return SHAPES[trace](peak_rps)
    path = Path(trace)
    if not path.exists():
        raise TrafficError(f"--trace {trace} is neither a file nor one of {', '.join(SHAPES)}")
    traffic = read_trace(path)
    if peak_rps is None:
        return traffic
    return Traffic(traffic.seconds, traffic.rps * (peak_rps / traffic.rps.max()))


def with_options(
    deployed: Deployed, given: dict[str, Any], first_rps: float, rps: float
) -> Deployed:
    """``deployed`` with the options ``given``, and as many replicas as the first moment needs.

    Args:
        deployed: what serve_config.yaml says.
        given: options of Ray's autoscaling_config, and ``cpu_target``.
        first_rps: requests per second at which the trace begins.
        rps: requests per second that keep one replica fully busy.
    """
    options = deployed.options | {name: given[name] for name in OPTIONS if given[name] is not None}
    changed = replace(
        deployed,
        options=options,
        cpu_target=deployed.cpu_target if given["cpu_target"] is None else given["cpu_target"],
    )
    bounds, targets = changed.autoscaling, changed.targets
    needed = math.ceil(first_rps / (rps * targets.cpu_utilisation))
    initial = max(bounds.min_replicas, min(bounds.max_replicas, needed))
    return replace(changed, options=options | {"initial_replicas": initial})


def describe(happened: Simulation, replicas: Replicas, cpu_target: float, seconds: float) -> str:
    """The result in a few lines, for people."""
    hours = len(happened.seconds) * happened.step_seconds / 3600
    at_peak = math.ceil(happened.offered_rps.max() / (replicas.capacity_rps * cpu_target))
    changes = np.diff(happened.target)
    return "\n".join(
        f"{name:<18}{text}"
        for name, text in {
            "traffic": f"{hours:,.1f} h, peak {happened.offered_rps.max():,.0f}/s, "
            f"{happened.offered_rps.sum() * happened.step_seconds:,.0f} requests",
            "replicas": f"{happened.target.min():,.0f} to {happened.target.max():,.0f}, mean "
            f"{happened.target.mean():,.1f}; {int((changes > 0).sum())} times more, "
            f"{int((changes < 0).sum())} times fewer",
            "above saturation": f"{happened.share_above_saturation:.3%} of the requests; "
            f"{happened.share_refused:.3%} refused",
            "replica-hours": f"{happened.replica_hours:,.1f}; {at_peak * hours:,.1f} if the "
            f"{at_peak:,} that the peak needs ran all the time",
            "simulated in": f"{seconds:.1f} s",
        }.items()
    )


def write_csv(path: Path, happened: Simulation) -> None:
    """Write every series, one row per step."""
    names = (
        *("seconds", "offered_rps", "capacity_rps", "served_rps", "refused_rps"),
        *("waiting", "running", "target", "utilisation"),
    )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        columns = (getattr(happened, name).tolist() for name in names)
        writer.writerows([f"{value:.6g}" for value in row] for row in zip(*columns, strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    given = _parse(arguments)
    try:
        if given.curve is None:
            capacity = given.replica_rps
        else:
            capacity = ReplicaModel.fit(read_curve(given.curve)).capacity_rps
        traffic = load_traffic(given.trace, given.peak_rps)
        deployed = read_serve_config(given.config)
        replicas = Replicas(
            capacity_rps=capacity,
            start_seconds=given.start_seconds,
            queue_limit=deployed.queue_limit,
            queue_seen=given.queue_seen,
        )
        deployed = with_options(deployed, vars(given), float(traffic.rps[0]), capacity)
        started = time.perf_counter()
        happened = simulate(
            traffic,
            deployed.autoscaling,
            deployed.targets,
            replicas,
            step_seconds=given.step_seconds,
        )
        print(describe(happened, replicas, deployed.cpu_target, time.perf_counter() - started))
        if given.csv is not None:
            write_csv(given.csv, happened)
        if given.image is not None:
            from loadtest.simulate.chart import draw

            draw(happened, deployed.cpu_target, given.image)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="serve-app simulate",
        description="Simulate the autoscaling of serve_config.yaml under a trace of traffic.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--trace",
        required=True,
        help=f"one of {', '.join(SHAPES)}, or a CSV file: seconds,requests_per_second",
    )
    parser.add_argument(
        "--peak-rps", type=float, help="highest rate of the trace; a file's own by default"
    )
    capacity = parser.add_mutually_exclusive_group(required=True)
    capacity.add_argument(
        "--replica-rps", type=float, help="requests per second that keep one replica fully busy"
    )
    capacity.add_argument(
        "--curve", type=Path, help="saturation curve to take it from: raw file of `steps`"
    )
    parser.add_argument(
        "--start-seconds",
        type=float,
        default=Replicas.start_seconds,
        help="until a new replica answers, node and pod included (default: %(default)s)",
    )
    parser.add_argument(
        "--queue-seen",
        type=float,
        default=Replicas.queue_seen,
        help="share of the waiting requests that Serve counts as ongoing: 0 in production mode, "
        "where they wait in sockets; 1 in plain mode (default: %(default)s)",
    )
    parser.add_argument(
        "--step-seconds", type=float, default=1.0, help="length of a step (default: %(default)s)"
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("serve_config.yaml"),
        help="Serve config that sets what follows (default: %(default)s)",
    )
    parser.add_argument("--cpu-target", type=float, help="CPU utilisation to aim at, such as 0.6")
    for name, kind in OPTIONS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help="in autoscaling_config")
    parser.add_argument("--image", type=Path, help="PNG file to draw")
    parser.add_argument("--csv", type=Path, help="CSV file for every step")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
