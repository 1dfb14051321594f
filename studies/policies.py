"""Compare autoscaling policies and their delays under the same sudden load, on this machine.

Each variant serves the same model, alone, on nodes that are there already, so that what differs is
when replicas are asked for, and how many. All of them take about eleven minutes on two cores.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.command_line import USAGE_ERROR, Parser, find_bad_number
from loadtest.scale.dashboard import Dashboard, DashboardError
from loadtest.deployed import ConfigError, read_serve_config
from loadtest.scale.local_cluster import ClusterError, LocalCluster
from loadtest.scale.one_machine import fit_config, prepare_machine
from studies.policy_results import HEADER, Result, judge
from loadtest.scale.run import Run, RunError, run_load
from loadtest.scale.samples import Summary, write_samples
from loadtest.driver.scenarios import SCENARIOS
from loadtest.scale.services import (
    ServiceStartError,
    make_load,
    wait_until_gone,
    wait_until_running,
    watched,
)
from serve_app.runtime.signals import stopped_by_signals
from loadtest.scale.sampler import Load
from serve_app.runtime.launch import load_config, require_free_port
from serve_app.runtime.local_service import LaunchError, Progress

NODES = 5
NEEDED = 4
SCENARIO = "surge"
NEVER_SECONDS = 600.0
"""A downscale delay that is longer than a variant's run."""
SCALE_IN_SECONDS = 120.0
"""Longest wait for the scale-in after the load."""


@dataclass(frozen=True)
class Variant:
    """What is changed in the Serve config; a policy of None is Serve's own."""

    autoscaling: Mapping[str, Any]
    scales_in: bool = False
    """Whether to wait for the scale-in, too; the others only differ on the way up."""


SERVE_DELAYS = {"metrics_interval_s": 10, "look_back_period_s": 30, "upscale_delay_s": 30}
VARIANTS: Mapping[str, Variant] = {
    "as configured": Variant({}, scales_in=True),
    "ours, downscale delay 10 s": Variant({"downscale_delay_s": 10}, scales_in=True),
    "Serve's policy and delays": Variant(
        {"policy": None, "target_ongoing_requests": 2, **SERVE_DELAYS}
    ),
    "Serve's policy, our delays": Variant({"policy": None, "target_ongoing_requests": 2}),
    "ours, look-back 10 s, delay 12 s": Variant({"look_back_period_s": 10, "upscale_delay_s": 12}),
    "ours, no delay": Variant({"upscale_delay_s": 0}),
    "ours, target_ongoing_requests 2": Variant({"target_ongoing_requests": 2}),
}


def vary(config: Mapping[str, Any], variant: Variant) -> None:
    """Put a variant into the one deployment of ``config``."""
    autoscaling = config["applications"][0]["deployments"][0]["autoscaling_config"]
    if not variant.scales_in:
        autoscaling["downscale_delay_s"] = NEVER_SECONDS
    autoscaling |= variant.autoscaling
    if autoscaling["policy"] is None:
        del autoscaling["policy"]


def run_variant(
    name: str, dashboard: Dashboard, config: Mapping[str, Any], load: Load, out: Path
) -> Run:
    """Serve ``config``, load it, and take it away again; keeps the samples."""
    directory = out / name.replace(" ", "-").replace("'", "").replace(",", "")
    directory.mkdir(parents=True, exist_ok=True)
    dashboard.deploy(config)
    wait_until_running(dashboard)
    run = run_load(
        dashboard,
        load,
        directory,
        has_settled=lambda samples: Summary.of(samples).has_settled(nodes_must_follow=False),
        settle_seconds=SCALE_IN_SECONDS if VARIANTS[name].scales_in else 0.0,
    )
    write_samples(directory / "samples.csv", run.samples)
    dashboard.deploy({**config, "applications": []})
    wait_until_gone(dashboard)
    return run


def compare(options: argparse.Namespace, progress: Progress) -> tuple[list[Result], list[str]]:
    """Run the variants, one after the other, on one cluster; returns results and problems."""
    config, _ = load_config(options.config, ())
    deployed = read_serve_config(options.config)
    require_free_port(options.port)
    results, problems = [], []
    with prepare_machine(NODES, config_target=deployed.cpu_target) as machine:
        rate = machine.rate_for(NEEDED)
        progress(f"peak {rate:.0f} requests/s, CPU target {machine.cpu_target:.0%}")
        load = make_load(options, f"http://127.0.0.1:{options.port}", machine.model_dir, rate)
        with (
            LocalCluster(
                max_nodes=NODES,
                min_nodes=NODES,
                idle_seconds=NEVER_SECONDS,
                log_file=options.out / "ray.log",
                production=not options.plain,
            ) as cluster,
            Dashboard(
                cluster.dashboard_url, token=cluster.token, watched=watched(config)
            ) as dashboard,
        ):
            for name in options.variants:
                progress(name)
                fitted = fit_config(
                    config,
                    model_dir=machine.model_dir,
                    port=options.port,
                    cpu_target=machine.cpu_target,
                    downscale_delay_s=deployed.autoscaling.downscale_delay_s,
                    max_replicas=NODES,
                )
                vary(fitted, VARIANTS[name])
                run = run_variant(name, dashboard, fitted, load, options.out)
                results.append(judge(name, run.samples, enough=NEEDED))
                print(results[-1].row, flush=True)
                problems += [f"{name}: {problem}" for problem in run.problems]
    return results, problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parse(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        with stopped_by_signals():
            results, problems = compare(options, Progress())
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return 130
    except (
        RunError,
        ServiceStartError,
        ConfigError,
        DashboardError,
        ClusterError,
        LaunchError,
        OSError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    table = "\n".join([HEADER, *(result.row for result in results)])
    (options.out / "table.md").write_text(f"{table}\n", encoding="utf-8")
    print(table)
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m studies.policies", usage="%(prog)s [options]", description=__doc__
    )
    add = parser.add_argument
    add("--config", type=Path, default=Path("serve_config.yaml"), help="default: %(default)s")
    add("--out", type=Path, default=Path("policies-report"), help="default: %(default)s")
    add("--users", type=int, default=SCENARIOS[SCENARIO].users, help="default: %(default)s")
    add("--seconds", type=float, default=SCENARIOS[SCENARIO].seconds, help="load, s (%(default)s)")
    add("--port", type=int, default=8000, help="default: %(default)s")
    add("--plain", action="store_true", help="Serve's plain mode instead of the production mode")
    add(
        "--variants",
        nargs="+",
        choices=list(VARIANTS),
        default=list(VARIANTS),
        help="which to run, in this order (default: all)",
    )
    parser.set_defaults(scenario=SCENARIO, user_rate=None)
    options = parser.parse_args(arguments)
    problem = find_bad_number(options, above_zero=["users"], at_least={"seconds": 1})
    if problem is not None:
        parser.error(problem)
    return options


if __name__ == "__main__":
    sys.exit(main())
