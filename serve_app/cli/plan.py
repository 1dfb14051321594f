"""``serve-app plan``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from deploy.sizes import Sizes
from serve_app.cli.style import (
    ABOVE_ZERO,
    COUNT,
    COUNT_OR_NONE,
    FILE,
    ZERO_OR_MORE,
    Command,
    Number,
    config_option,
    extra,
    section,
)

POSITIVE_SHARE = Number(min=0, min_open=True, max=1)

_target = section("Target")
_sizes = section("Sizes")


@click.command(
    cls=Command,
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
