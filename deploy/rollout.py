"""Apply a rendered manifest, wait until it serves, check it, and go back if it does not.

A deployment is: apply, wait, smoke, traces, record; and rollback when one of them fails.
Exit codes: 0 as asked, 1 not, with the reason.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.checks import CheckError, diagnose, public_url, smoke, traces
from deploy.shell import CommandError, Shell
from deploy.kubectl import Kubectl
from deploy.names import NAMESPACE, RAY_SERVICE
from deploy.status import Outcome, Verdict, active_cluster_name, judge, timed_out

RECORD = f"{RAY_SERVICE}-last-good"
"""ConfigMap with the last manifest that passed every check."""
RECORD_KEY = "manifest.yaml"

DEADLINE_SECONDS = 1800.0
"""Long enough for new nodes and a new image. KubeRay itself never gives up on an upgrade."""
SETTLE_SECONDS = 15.0
"""KubeRay looks every 2 s and reads Serve's status before it sends a new configuration: the first
RUNNING after a change may still be the old one's."""
POLL_SECONDS = 5.0


class RolloutError(Exception):
    """The service is not what was asked for: says why."""


def apply(kubectl: Kubectl, manifest: str) -> None:
    """Apply a manifest, replacing a RayService that would ignore it."""
    service = kubectl.get("rayservice", RAY_SERVICE)
    if service and timed_out(service):
        # Nothing is lost: KubeRay has deleted its clusters already.
        kubectl.delete("rayservice", RAY_SERVICE)
    kubectl.apply(manifest)


def look(kubectl: Kubectl) -> Verdict:
    """Judge the service as it is now."""
    service = kubectl.get("rayservice", RAY_SERVICE)
    if service is None:
        return Verdict(Outcome.FAILED, f"there is no RayService {NAMESPACE}/{RAY_SERVICE}")
    name = active_cluster_name(service)
    return judge(service, kubectl.get("raycluster", name) if name else None)


def wait(
    look: Callable[[], Verdict],
    deadline_seconds: float = DEADLINE_SECONDS,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    say: Callable[[str], None] = print,
) -> None:
    """Look again and again until a verdict has held for `SETTLE_SECONDS`.

    Args:
        look: judges the service; a CommandError counts as waiting.
        deadline_seconds: how long to wait at most.
        clock: seconds from any start.
        sleep: waits for some seconds.
        say: takes each change of the verdict.

    Raises:
        RolloutError: it failed, or the deadline is over; the last reason is in the message.
    """
    start = since = clock()
    last: Verdict | None = None
    while True:
        try:
            verdict = look()
        except CommandError as error:
            verdict = Verdict(Outcome.WAITING, f"the cluster does not answer: {error}")
        now = clock()
        if last is None or verdict.outcome is not last.outcome:
            since = now
        if verdict != last:
            say(f"{now - start:5.0f} s  {verdict.outcome.value}: {verdict.reason}")
        last = verdict
        settled = now - since >= SETTLE_SECONDS
        if verdict.outcome is Outcome.READY and settled:
            return
        if verdict.outcome is Outcome.FAILED and settled:
            raise RolloutError(verdict.reason)
        if now - start >= deadline_seconds:
            raise RolloutError(f"not ready after {deadline_seconds:.0f} s: {verdict.reason}")
        sleep(POLL_SECONDS)


def record(kubectl: Kubectl, manifest: str) -> None:
    """Keep a manifest that passed every check: a rollback returns to it."""
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": RECORD, "namespace": NAMESPACE},
        "data": {RECORD_KEY: manifest},
    }
    kubectl.apply(json.dumps(document))


def roll_back(kubectl: Kubectl) -> None:
    """Apply the last manifest that passed every check.

    What serves goes on serving meanwhile: KubeRay starts one more cluster, with the old manifest.

    Raises:
        RolloutError: nothing was ever recorded.
    """
    document = kubectl.get("configmap", RECORD)
    if document is None:
        raise RolloutError(
            f"nothing to go back to: there is no ConfigMap {NAMESPACE}/{RECORD}, because no "
            "deployment has passed every check yet"
        )
    apply(kubectl, document["data"][RECORD_KEY])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    shell = Shell()
    kubectl = Kubectl(shell, options.context)
    try:
        options.run(kubectl, options)
    except (CheckError, CommandError, RolloutError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="serve-app k8s rollout",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--context", help="kubectl's context (default: the current one)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[Kubectl, argparse.Namespace], None], text: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    def add_deadline(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--deadline",
            type=float,
            default=DEADLINE_SECONDS,
            metavar="SECONDS",
            help="wait at most this long (default: %(default)s)",
        )

    add("apply", _apply, "apply a rendered manifest").add_argument("manifest", type=Path)
    add_deadline(add("wait", _wait, "wait until what was applied serves, or has failed"))
    smoke_parser = add("smoke", _smoke, "ask for predictions through the public address")
    smoke_parser.add_argument(
        "--url", default="", help="the public address; empty: that of the load balancer"
    )
    smoke_parser.add_argument(
        "--model", default="", help="version of the model that must answer; empty: any"
    )
    add("traces", _traces, "check from inside the pods that spans arrive")
    add("record", _record, "keep a manifest to go back to").add_argument("manifest", type=Path)
    add_deadline(add("rollback", _rollback, "apply the last manifest that was kept, and wait"))
    add("diagnose", _diagnose, "print states, events and logs")
    return parser


def _apply(kubectl: Kubectl, options: argparse.Namespace) -> None:
    apply(kubectl, options.manifest.read_text(encoding="utf-8"))


def _wait(kubectl: Kubectl, options: argparse.Namespace) -> None:
    wait(lambda: look(kubectl), options.deadline)


def _smoke(kubectl: Kubectl, options: argparse.Namespace) -> None:
    print(smoke(lambda: options.url or public_url(kubectl), model=options.model))


def _traces(kubectl: Kubectl, _options: argparse.Namespace) -> None:
    print("\n".join(traces(kubectl)))


def _record(kubectl: Kubectl, options: argparse.Namespace) -> None:
    record(kubectl, options.manifest.read_text(encoding="utf-8"))


def _rollback(kubectl: Kubectl, options: argparse.Namespace) -> None:
    roll_back(kubectl)
    wait(lambda: look(kubectl), options.deadline)


def _diagnose(kubectl: Kubectl, _options: argparse.Namespace) -> None:
    print(diagnose(kubectl))


if __name__ == "__main__":
    sys.exit(main())
