"""Compare autoscaling policies and their delays under the same sudden load, on this machine.

Each variant serves the same model, alone, on nodes that are there already, so that what differs is
when replicas are asked for, and how many.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.dashboard import Dashboard, DashboardError
from loadtest.history import read_outcome
from loadtest.live import LiveTable
from loadtest.local_cluster import ClusterError, LocalCluster
from loadtest.one_machine import (
    cpu_seconds_per_request,
    fit_config,
    rate_for,
    share_of_machine,
    train_heavy_model,
)
from loadtest.samples import Sample, Summary, write_samples
from loadtest.scenarios import SCENARIOS
from loadtest.services import POLL_SECONDS, ServiceStartError, wait_until_running, watched
from loadtest.thresholds import Outcome
from loadtest.watch import Load, LocustRun, Watcher, every_second
from serve_app.launcher import LaunchError, Progress, load_config, require_free_port

NODES = 5
NEEDED = 4
DOWNSCALE_SECONDS = 600.0
"""Longer than a variant's run: only the way up is compared."""
SCENARIO = "surge"

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "as configured": {},
    "Serve's policy and delays": {
        "policy": None,
        "target_ongoing_requests": 2,
        "metrics_interval_s": 10,
        "look_back_period_s": 30,
        "upscale_delay_s": 30,
    },
    "Serve's policy, our delays": {"policy": None, "target_ongoing_requests": 2},
    "ours, Serve's delays": {
        "metrics_interval_s": 10,
        "look_back_period_s": 30,
        "upscale_delay_s": 30,
    },
    "ours, look-back 10 s, delay 12 s": {"look_back_period_s": 10, "upscale_delay_s": 12},
    "ours, no delay": {"upscale_delay_s": 0},
    "ours, target_ongoing_requests 2": {"target_ongoing_requests": 2},
}


@dataclass(frozen=True)
class Result:
    """What a variant did with the load."""

    name: str
    summary: Summary
    outcome: Outcome
    asked_seconds: float | None
    """From the rise of the load to the first wish for more replicas."""
    enough_seconds: float | None
    """From the rise of the load until `NEEDED` replicas were running."""
    most_wanted: int

    @property
    def row(self) -> str:
        """Row of the Markdown table."""
        return (
            f"| {self.name} | {_seconds(self.asked_seconds)} | {_seconds(self.enough_seconds)} | "
            f"{self.most_wanted} | {self.outcome.p50_ms:.0f} | {self.outcome.p99_ms:.0f} | "
            f"{self.summary.replica_seconds:.0f} | {self.outcome.failures} |"
        )


HEADER = (
    "| policy | first asked, s | enough running, s | most wanted | p50 ms | p99 ms | "
    "replica-seconds | failed |\n|---|---|---|---|---|---|---|---|"
)


def judge(name: str, samples: Sequence[Sample], outcome: Outcome) -> Result:
    """Read the result from a variant's samples."""
    peak = max(sample.users for sample in samples)
    rise = next(sample.seconds for sample in samples if sample.users > peak / 2)
    first = samples[0].replicas_wanted or 0

    def since_rise(name: str, least: int) -> float | None:
        moments = (s.seconds for s in samples if (getattr(s, name) or 0) >= least)
        moment = next(moments, None)
        return None if moment is None else moment - rise

    return Result(
        name=name,
        summary=Summary.of(samples),
        outcome=outcome,
        asked_seconds=since_rise("replicas_wanted", first + 1),
        enough_seconds=since_rise("replicas_running", NEEDED),
        most_wanted=max(sample.replicas_wanted or 0 for sample in samples),
    )


def vary(config: Mapping[str, Any], variant: Mapping[str, Any]) -> None:
    """Put a variant into the one deployment of ``config``; a policy of None is Serve's own."""
    autoscaling = config["applications"][0]["deployments"][0]["autoscaling_config"]
    autoscaling |= variant
    if autoscaling["policy"] is None:
        del autoscaling["policy"]


def run_variant(dashboard: Dashboard, load: Load, directory: Path) -> list[Sample]:
    """Load the service once; returns what was seen."""
    samples: list[Sample] = []
    table = LiveTable()
    with LocustRun(load, directory) as locust:
        watcher = Watcher(dashboard, locust.history, load, None)

        def take() -> bool:
            samples.append(watcher.sample())
            table.show(samples[-1], f"{load.seconds:.0f} s of load")
            return locust.exit_code is None

        every_second(take)
    return samples


def compare(options: argparse.Namespace, progress: Progress) -> list[Result]:
    """Run the variants, one after the other, on one cluster."""
    config, _ = load_config(options.config, ())
    require_free_port(options.port)
    share = share_of_machine(len(os.sched_getaffinity(0)), NODES)
    policy = config["applications"][0]["deployments"][0]["autoscaling_config"]["policy"]
    cpu_target = policy["policy_kwargs"]["cpu_target"] * share
    results = []
    with tempfile.TemporaryDirectory(prefix="policies-") as scratch:
        model_dir = Path(scratch, "model")
        train_heavy_model(model_dir)
        cpu_seconds = cpu_seconds_per_request(model_dir)
        rate = rate_for(NEEDED, cpu_target=cpu_target, cpu_seconds=cpu_seconds)
        progress(f"peak {rate:.0f} requests/s, CPU target {cpu_target:.0%}")
        load = Load(
            host=f"http://127.0.0.1:{options.port}",
            scenario=SCENARIO,
            users=options.users,
            user_rate=round(rate / options.users, 3),
            seconds=options.seconds,
            model_dir=model_dir,
        )
        log_file = options.out / "ray.log"
        with (
            LocalCluster(
                max_nodes=NODES, min_nodes=NODES, idle_seconds=600, log_file=log_file
            ) as cluster,
            Dashboard(
                cluster.dashboard_url, token=cluster.token, watched=watched(config)
            ) as dashboard,
        ):
            for name in options.variants:
                progress(name)
                fitted = fit_config(
                    config,
                    model_dir=model_dir,
                    port=options.port,
                    cpu_target=cpu_target,
                    downscale_delay_s=DOWNSCALE_SECONDS,
                    max_replicas=NODES,
                )
                vary(fitted, VARIANTS[name])
                directory = options.out / name.replace(" ", "-").replace("'", "")
                directory.mkdir(parents=True, exist_ok=True)
                dashboard.deploy(fitted)
                wait_until_running(dashboard)
                samples = run_variant(dashboard, load, directory)
                write_samples(directory / "samples.csv", samples)
                results.append(judge(name, samples, read_outcome(directory / "locust")))
                print(results[-1].row, flush=True)
                dashboard.deploy({**fitted, "applications": []})
                while dashboard.is_served():
                    time.sleep(POLL_SECONDS)
    return results


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parse(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        results = compare(options, Progress())
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return 130
    except (ServiceStartError, DashboardError, ClusterError, LaunchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    table = "\n".join([HEADER, *(result.row for result in results)])
    (options.out / "table.md").write_text(f"{table}\n", encoding="utf-8")
    print(table)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest.policies", description=__doc__)
    add = parser.add_argument
    add("--config", type=Path, default=Path("serve_config.yaml"), help="default: %(default)s")
    add("--out", type=Path, default=Path("policies-report"), help="default: %(default)s")
    add("--users", type=int, default=SCENARIOS[SCENARIO].users, help="default: %(default)s")
    add("--seconds", type=float, default=SCENARIOS[SCENARIO].seconds, help="load, s (%(default)s)")
    add("--port", type=int, default=8000, help="default: %(default)s")
    add(
        "--variants",
        nargs="+",
        choices=list(VARIANTS),
        default=list(VARIANTS),
        help="which to run, in this order (default: all)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
