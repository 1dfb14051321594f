"""Compare autoscaling policies and their delays under the same sudden load, on this machine."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from loadtest.driver.locust_run import Load
from loadtest.driver.scenarios import SCENARIOS
from loadtest.scale.dashboard import Dashboard
from loadtest.scale.local_cluster import local_cluster
from loadtest.scale.one_machine import prepare_machine
from loadtest.scale.run import LoadRecord, run_load
from loadtest.scale.samples import ScaleSummary, write_snapshots
from serve_app.cli.main import run
from serve_app.cli.style import COUNT, DIRECTORY, PORT, Command, Number, config_option
from serve_app.errors import CheckFailedError
from serve_app.runtime.local_service import Progress
from serve_app.runtime.ports import LOOPBACK, require_free_port
from serve_app.runtime.signals import stopped_by_signals
from serve_app.serve_config import ServeConfig, find_config
from studies.policy_results import HEADER, PolicyResult, judge

NODES = 5
NEEDED = 4
"""Replicas that the load needs."""
SCENARIO = "surge"
NEVER_SECONDS = 600.0
"""A downscale delay that is longer than a variant's run."""
SCALE_IN_SECONDS = 120.0
"""Longest wait for the scale-in after the load."""


@dataclass(frozen=True)
class Variant:
    """Autoscaling options in place of the config's; a policy of None is Serve's own."""

    autoscaling: Mapping[str, Any]
    scales_in: bool = False
    """Whether the scale-in is recorded, too; the others only differ on the way up."""

    def apply(self, config: ServeConfig) -> ServeConfig:
        """``config`` with the variant's options."""
        delay = {} if self.scales_in else {"downscale_delay_s": NEVER_SECONDS}
        return config.override(autoscaling={**delay, **self.autoscaling})


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


@click.command(
    cls=Command,
    example="python -m studies.policies --variant 'as configured' --variant 'ours, no delay'",
)
@click.option("--out", type=DIRECTORY, default=Path("policies-report"), help="Results to write.")
@click.option(
    "--users", type=COUNT, default=SCENARIOS[SCENARIO].users, help="Users that send the load."
)
@click.option(
    "--seconds", type=Number(min=1), default=SCENARIOS[SCENARIO].seconds, help="Length of the load."
)
@click.option("--port", type=PORT, default=8000, help="HTTP port.")
@click.option("--plain", is_flag=True, help="Serve's plain mode instead of the production mode.")
@click.option(
    "--variant",
    "variants",
    type=click.Choice(list(VARIANTS)),
    multiple=True,
    help="Run only this one; may be repeated.",
)
@config_option
def policies(
    *,
    out: Path,
    users: int,
    seconds: float,
    port: int,
    plain: bool,
    variants: tuple[str, ...],
    config_file: Path | None,
) -> None:
    """Compare autoscaling policies and their delays under the same sudden load.

    Each variant serves the same model, alone, on nodes that run already: the variants differ in
    when they ask for replicas, and for how many. All of them take eleven minutes on two cores.
    """
    config = ServeConfig.read(find_config(config_file))
    scaling = config.scaling
    require_free_port(port)
    out.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    results: list[PolicyResult] = []
    problems: list[str] = []
    with (
        stopped_by_signals(),
        prepare_machine(NODES, config_target=scaling.cpu_target) as machine,
        local_cluster(
            max_nodes=NODES,
            min_nodes=NODES,
            idle_seconds=NEVER_SECONDS,
            log_file=out / "ray.log",
            production=not plain,
        ) as cluster,
        Dashboard(
            cluster.dashboard_url,
            token=cluster.token,
            application=config.application_name,
            deployment=config.deployment_name,
        ) as dashboard,
    ):
        rate = machine.rate_for(NEEDED)
        progress(f"peak {rate:.0f} requests/s, CPU target {machine.cpu_target:.0%}")
        load = Load.peaking_at(
            rate,
            scenario=SCENARIO,
            host=f"http://{LOOPBACK}:{port}",
            model_dir=machine.model_dir,
            users=users,
            seconds=seconds,
        )
        fitted = machine.fit(config, port=port, max_replicas=NODES)
        for name in variants or VARIANTS:
            progress(name)
            record = run_variant(name, dashboard, fitted, load, out)
            results.append(judge(name, record.snapshots, enough=NEEDED))
            click.echo(results[-1].row)
            problems += [f"{name}: {problem}" for problem in record.problems]
    table = "\n".join([HEADER, *(result.row for result in results)])
    (out / "table.md").write_text(f"{table}\n", encoding="utf-8")
    click.echo(table)
    if problems:
        raise CheckFailedError("\n".join(problems))


def run_variant(
    name: str, dashboard: Dashboard, config: ServeConfig, load: Load, out: Path
) -> LoadRecord:
    """Serve a variant of ``config``, load it, and remove it; keeps the snapshots."""
    variant = VARIANTS[name]
    directory = out / name.replace(" ", "-").replace("'", "").replace(",", "")
    directory.mkdir(parents=True, exist_ok=True)
    document = variant.apply(config).document
    dashboard.deploy(document)
    record = run_load(
        dashboard,
        load,
        directory,
        has_settled=lambda snapshots: ScaleSummary.of(snapshots).has_settled(
            nodes_must_follow=False
        ),
        settle_seconds=SCALE_IN_SECONDS if variant.scales_in else 0.0,
    )
    write_snapshots(directory / "samples.csv", record.snapshots)
    dashboard.undeploy(document)
    return record


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return run(policies, arguments, name="python -m studies.policies")


if __name__ == "__main__":
    sys.exit(main())
