"""Compare autoscaling policies and their delays under the same sudden load, on this machine."""

import itertools
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from loadtest.driver.locust_run import Load
from loadtest.driver.scenarios import SCENARIOS
from loadtest.scale.local_cluster import local_cluster
from loadtest.scale.one_machine import prepare_machine
from loadtest.scale.record import run_load
from loadtest.scale.samples import ScaleSummary, Snapshot, write_snapshots
from serve_app.cli.main import run
from serve_app.cli.style import (
    COUNT,
    DIRECTORY,
    PORT,
    Command,
    Number,
    config_option,
    markdown_table,
)
from serve_app.errors import CheckFailedError
from serve_app.runtime.local_service import Progress
from serve_app.runtime.ports import LOOPBACK, require_free_port
from serve_app.runtime.signals import stopped_by_signals
from serve_app.serve_config import ServeConfig, find_config

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
    require_free_port(port)
    out.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    results: list[PolicyResult] = []
    problems: list[str] = []
    with (
        stopped_by_signals(),
        prepare_machine(NODES, config.scaling.cpu_target) as machine,
        local_cluster(
            config,
            max_nodes=NODES,
            min_nodes=NODES,
            idle_seconds=NEVER_SECONDS,
            log_file=out / "ray.log",
            production=not plain,
        ) as dashboard,
    ):
        rate = machine.rate_for(NEEDED)
        progress(f"peak {rate:.0f} requests/s, CPU target {machine.cpu_target:.0%}")
        load = Load.of(SCENARIO, users=users, seconds=seconds).at(
            f"http://{LOOPBACK}:{port}", machine.model_dir, peak_rps=rate
        )
        fitted = machine.fit(config, port=port, max_replicas=NODES)
        for name in variants or VARIANTS:
            progress(name)
            variant, directory = VARIANTS[name], out / re.sub("[',]", "", name).replace(" ", "-")
            directory.mkdir(parents=True, exist_ok=True)
            document = variant.apply(fitted).document
            dashboard.deploy(document)
            settle_seconds = SCALE_IN_SECONDS if variant.scales_in else 0.0
            record = run_load(dashboard, load, directory, settle_seconds=settle_seconds)
            write_snapshots(directory / "samples.csv", record.snapshots)
            dashboard.undeploy(document)
            results.append(judge(name, record.snapshots, enough=NEEDED))
            table = markdown_table([result.row for result in results])
            (out / "table.md").write_text(f"{table}\n", encoding="utf-8")
            click.echo(table)
            problems += [f"{name}: {problem}" for problem in record.problems]
    if problems:
        raise CheckFailedError("\n".join(problems))


@dataclass(frozen=True)
class PolicyResult:
    """What a variant did with the load."""

    name: str
    asked_seconds: float | None
    """From the rise of the load until more replicas were desired."""
    enough_seconds: float | None
    """From the rise of the load until enough replicas were running."""
    most_desired: int
    ramp_p99_ms: float | None
    """Worst p99 of any ten seconds from the rise until enough replicas ran, or the load ended."""
    scaled_in_seconds: float | None
    """From the last answer until no more replicas than at first were running."""
    replica_seconds: float
    failures: int

    @property
    def row(self) -> dict[str, object]:
        """Row of a table, by column."""
        return {
            "policy": self.name,
            "first asked, s": _number(self.asked_seconds),
            "enough running, s": _number(self.enough_seconds),
            "most desired": self.most_desired,
            "worst p99 until then, ms": _number(self.ramp_p99_ms),
            "scaled in, s": _number(self.scaled_in_seconds),
            "replica-seconds": _number(self.replica_seconds),
            "failed": self.failures,
        }


def judge(name: str, snapshots: Sequence[Snapshot], *, enough: int) -> PolicyResult:
    """Read the result from a variant's snapshots, of which there must be at least one.

    They begin before the rise of the load and end after it; it needs ``enough`` replicas.
    """
    start, last = snapshots[0], snapshots[-1]
    peak, first = max(each.users for each in snapshots), start.replicas_running or 0
    risen = list(itertools.dropwhile(lambda each: each.users <= peak / 2, snapshots))
    rise = risen[0].seconds if risen else last.seconds
    asked = _when(risen, lambda at: (at.replicas_desired or 0) > (start.replicas_desired or 0))
    reached = _when(risen, lambda at: (at.replicas_running or 0) >= enough)
    answered = [b.seconds for a, b in itertools.pairwise(snapshots) if b.requests > a.requests]
    end = answered[-1] if answered else last.seconds
    ramp_end = end if reached is None else reached
    grew = any((each.replicas_running or 0) > first for each in snapshots)
    after = (at for at in snapshots if at.seconds > end and at.replicas_running is not None)
    scaled_in = _when(after, lambda at: (at.replicas_running or 0) <= first) if grew else None
    return PolicyResult(
        name=name,
        asked_seconds=None if asked is None else asked - rise,
        enough_seconds=None if reached is None else reached - rise,
        most_desired=max(each.replicas_desired or 0 for each in snapshots),
        ramp_p99_ms=max(
            (at.p99_ms for at in risen if at.p99_ms is not None and at.seconds <= ramp_end),
            default=None,
        ),
        scaled_in_seconds=None if scaled_in is None else scaled_in - end,
        replica_seconds=ScaleSummary.of(snapshots).replica_seconds,
        failures=last.failures,
    )


def _when(snapshots: Iterable[Snapshot], happened: Callable[[Snapshot], bool]) -> float | None:
    return next((each.seconds for each in snapshots if happened(each)), None)


def _number(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f}"


if __name__ == "__main__":
    sys.exit(run(policies, name="python -m studies.policies"))
