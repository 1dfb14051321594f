"""What can break in a cluster, one fault or two at a time, under steady predictions."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from deploy.cluster import OPERATOR
from deploy.names import KUBERAY_NAMESPACE
from serve_app.ray_internals.haproxy import HAPROXY
from serve_app.ray_internals.nodes import GCS, HAPROXY_MANAGER, RAYLET, REPLICA
from studies.drill_load import Result, by_status
from studies.e2e.cluster import Addresses, Cluster
from studies.e2e.traffic import Traffic

BEFORE_SECONDS = 3.0
AFTER_SECONDS = 15.0
"""Least time under load after a fault: what notices it late has noticed."""
WHOLE_SECONDS = 900.0
DRAIN_SECONDS = 300
OPERATOR_PODS = f"app.kubernetes.io/name={OPERATOR}"


@dataclass(frozen=True)
class Fault:
    """Something that breaks."""

    name: str
    cause: Callable[[Cluster], str | None]
    """Breaks it; may return a note."""


@dataclass(frozen=True)
class Outcome:
    """One fault, once."""

    result: Result
    whole: float
    """Seconds until everything that should run was running again."""
    calls: Result
    """Of the gRPC calls beside the requests."""


def worker_deleted(cluster: Cluster) -> None:
    """A worker is told to stop, as by an eviction."""
    cluster.kubectl.change("delete", "pod", cluster.pod("worker"), "--wait=false")


def worker_lost(cluster: Cluster) -> None:
    """A worker goes without a word, as with its node."""
    pod = cluster.pod("worker")
    cluster.kubectl.change("delete", "pod", pod, "--grace-period=0", "--force")


def head_deleted(cluster: Cluster) -> None:
    """The head is told to stop."""
    cluster.kubectl.change("delete", "pod", cluster.pod("head"), "--wait=false")


def head_lost(cluster: Cluster) -> None:
    """The head goes without a word, as with its node."""
    cluster.kubectl.change("delete", "pod", cluster.pod("head"), "--grace-period=0", "--force")


def killed(
    node_type: str, process: str, *, container: str | None = None, number: int = 0
) -> Callable[[Cluster], None]:
    """A process in a pod gets SIGKILL; `Cluster.kill` explains the arguments."""

    def cause(cluster: Cluster) -> None:
        cluster.kill(node_type, process, container=container, number=number)

    return cause


def node_drained(cluster: Cluster) -> str:
    """The node of a worker is emptied, and comes back."""
    head = {pod["spec"]["nodeName"] for pod in cluster.pods("head")}
    nodes = [pod["spec"]["nodeName"] for pod in cluster.pods("worker")]
    node = next((each for each in nodes if each not in head), nodes[0])
    began = time.monotonic()
    drain = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data")
    try:
        cluster.everywhere.change(*drain, f"--timeout={DRAIN_SECONDS}s")
        return f"{node} was empty after {time.monotonic() - began:.0f} s"
    finally:
        cluster.everywhere.change("uncordon", node)


def operator_deleted(cluster: Cluster) -> None:
    """KubeRay's operator starts anew."""
    cluster.everywhere.change(
        *("delete", "pod", f"--namespace={KUBERAY_NAMESPACE}", f"--selector={OPERATOR_PODS}"),
        "--wait=false",
    )


def both(*causes: Callable[[Cluster], object]) -> Callable[[Cluster], None]:
    """Several faults, one right after the other."""

    def cause(cluster: Cluster) -> None:
        for each in causes:
            each(cluster)

    return cause


FAULTS: Sequence[Fault] = (
    Fault("worker pod deleted", worker_deleted),
    Fault("worker pod lost", worker_lost),
    Fault("replica killed", killed("worker", REPLICA)),
    Fault("raylet of a worker killed", killed("worker", RAYLET)),
    Fault("HAProxy of a worker killed", killed("worker", HAPROXY)),
    Fault("HAProxy's manager killed", killed("worker", HAPROXY_MANAGER)),
    Fault("autoscaler killed", killed("head", "kuberay-autoscaler", container="autoscaler")),
    Fault("GCS killed", killed("head", GCS)),
    Fault("head pod deleted", head_deleted),
    Fault("head pod lost", head_lost),
    Fault("node drained", node_drained),
    Fault("operator deleted", operator_deleted),
    Fault("operator and a worker pod deleted", both(operator_deleted, worker_deleted)),
    Fault(
        "HAProxy and, elsewhere, a replica killed",
        both(killed("worker", HAPROXY), killed("worker", REPLICA, number=1)),
    ),
)


def outage(command: str) -> Fault:
    """The API server is away for as long as a command takes, which takes it away."""

    def cause(_cluster: Cluster) -> str:
        began = time.monotonic()
        subprocess.run(command, shell=True, check=True)  # noqa: S602 - the user's own command
        return f"for {time.monotonic() - began:.0f} s"

    return Fault("API server away", cause)


def meet(
    fault: Fault, cluster: Cluster, at: Addresses, *, rate: float, workers: int, failures: Path
) -> Outcome:
    """Break something under load, and wait until everything runs again.

    Failures go to the file ``failures``.

    Raises:
        CheckFailedError: it has not been whole before, or is not whole in time.
    """
    cluster.wait_until_whole(workers, WHOLE_SECONDS)
    with Traffic(at.url, rate, at.grpc) as traffic:
        time.sleep(BEFORE_SECONDS)
        began = traffic.seconds
        note = fault.cause(cluster) or ""
        time.sleep(AFTER_SECONDS)
        cluster.wait_until_whole(workers, WHOLE_SECONDS)
        whole = traffic.seconds - began
    traffic.keep_failures(failures)
    return Outcome(
        Result.of(fault.name, traffic.answers, began, note),
        whole,
        Result.of(fault.name, traffic.calls, began),
    )


def table(outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    """A row for each fault, whatever number of times it was met."""
    rows = []
    for name in dict.fromkeys(outcome.result.fault for outcome in outcomes):
        met = [each for each in outcomes if each.result.fault == name]
        failed, calls = (
            sum((each.failed for each in results), Counter[str]())
            for results in ([each.result for each in met], [each.calls for each in met])
        )
        notes = dict.fromkeys(each.result.notes for each in met if each.result.notes)
        rows.append(
            {
                "fault": name,
                "times": str(len(met)),
                "requests": f"{sum(each.result.requests for each in met):,}",
                "failed": by_status(failed),
                "gRPC calls": f"{sum(each.calls.requests for each in met):,}",
                "failed calls": by_status(calls),
                "s until the last failure": _range([each.result.whole for each in met]),
                "slowest answer, s": f"{max(each.result.slowest for each in met):.1f}",
                "s until whole": _range([each.whole for each in met]),
                "notes": "; ".join(notes),
            }
        )
    return rows


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return low if low == high else f"{low} to {high}"


def announce(outcome: Outcome) -> None:
    """Print one outcome."""
    result = outcome.result
    click.echo(
        f"  {result.fault}: {by_status(result.failed)} of {result.requests:,} requests failed, "
        f"{by_status(outcome.calls.failed)} of {outcome.calls.requests:,} gRPC calls; whole again "
        f"after {outcome.whole:.0f} s"
    )
