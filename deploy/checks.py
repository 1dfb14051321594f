"""Looks into the pods: do spans arrive, and what is there to read after a failure."""

from deploy.kubectl import Kubectl
from deploy.names import RAY_SERVICE
from deploy.shell import CommandError
from deploy.status import active_cluster_name
from serve_app.errors import CheckFailedError
from serve_app.ray_internals.nodes import SERVE_LOGS, SESSION_LOGS

TRACING_CHECK = ("serve-app", "traces", "check")
LOG_LINES = 200
RAY_PODS = "--selector=ray.io/is-ray-node=yes"
RUNNING = "--field-selector=status.phase=Running"


def traces(kubectl: Kubectl) -> list[str]:
    """Send a span from inside the head and a worker: each has an identity of its own.

    Returns:
        What the application said, a line for each pod.

    Raises:
        CheckFailedError: a span was refused, or tracing is off.
    """
    service = kubectl.get("rayservice", RAY_SERVICE)
    cluster = active_cluster_name(service) if service else ""
    if not cluster:
        raise CheckFailedError("no cluster serves yet")
    said = []
    for node_type in ("head", "worker"):
        labels = f"ray.io/cluster={cluster},ray.io/node-type={node_type}"
        pods = kubectl.names("pods", f"--selector={labels}", RUNNING)
        if not pods:
            raise CheckFailedError(f"cluster {cluster} has no running {node_type} pod")
        try:
            words = kubectl.read("exec", pods[0], "--", *TRACING_CHECK)
        except CommandError as error:
            raise CheckFailedError(f"{pods[0]} cannot write spans: {error}") from error
        said.append(f"{pods[0]}: {words}")
    return said


def diagnose(kubectl: Kubectl) -> str:
    """What to read after a failure: states, events and the last log lines; no secret is in it.

    Raises:
        CheckFailedError: the cluster does not answer.
    """
    kubectl.check_reachable()
    sections = [
        _section(kubectl, "get", "rayservices,rayclusters,pods,services", "-owide"),
        _section(kubectl, "get", "rayservice", RAY_SERVICE, "-ojsonpath={.status}"),
        _section(kubectl, "get", "events", "--sort-by=.lastTimestamp"),
        _section(
            *(kubectl, "logs", RAY_PODS, "--all-containers", "--prefix"),
            *(f"--tail={LOG_LINES}", "--ignore-errors"),
        ),
    ]
    try:
        pods = kubectl.names("pods", RAY_PODS, RUNNING)
    except CommandError as error:
        return "\n\n".join([*sections, str(error)])
    # Ray keeps them in files: Serve's controller, proxies and replicas write nowhere else.
    tail = ("sh", "-c", f"tail --lines={LOG_LINES} {SESSION_LOGS / SERVE_LOGS}/*.log")
    sections += [_section(kubectl, "exec", pod, "--", *tail) for pod in pods]
    return "\n\n".join(sections)


def _section(kubectl: Kubectl, *command: str) -> str:
    try:
        output = kubectl.read(*command)
    except CommandError as error:
        output = str(error)
    return f"## kubectl {' '.join(command)}\n{output}"
