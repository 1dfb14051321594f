"""What a deployment must prove before it counts, and what is worth reading when it does not."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from deploy.shell import CommandError
from deploy.kubectl import Kubectl
from deploy.names import PUBLIC_SERVICE, RAY_SERVICE
from deploy.status import active_cluster_name

SMOKE_SECONDS = 900.0
"""A new load balancer takes minutes, and the old Ray cluster answers, too, until it has drained."""
SMOKE_REQUESTS = 20
REQUEST_SECONDS = 10.0
TRACING_CHECK = ("python", "-m", "serve_app.tracing", "check")
SPAN_TAKEN = "OK:"
"""How a line of its output begins when an exporter took a span; where tracing is off by
configuration, it exits with 0, too."""
LOG_LINES = 200
SERVE_LOGS = "/tmp/ray/session_latest/logs/serve/*.log"  # noqa: S108 - Ray's own
RAY_PODS = "--selector=ray.io/is-ray-node=yes"
RUNNING = "--field-selector=status.phase=Running"


class CheckError(Exception):
    """A check failed: what was wrong, and the fix where it is known."""


def public_url(kubectl: Kubectl) -> str:
    """Address under which clients reach the service.

    Raises:
        CheckError: the load balancer has none yet.
    """
    service = kubectl.get("service", PUBLIC_SERVICE)
    if service is None:
        raise CheckError(f"there is no Service {PUBLIC_SERVICE}")
    points = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    if not points:
        raise CheckError(
            f"Service {PUBLIC_SERVICE} has no address yet; behind a Gateway, name the URL"
        )
    host = points[0].get("ip") or points[0]["hostname"]
    return f"http://{host}:{service['spec']['ports'][0]['port']}"


def smoke(
    find_url: Callable[[], str],
    *,
    model: str = "",
    deadline_seconds: float = SMOKE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Ask for the sample in the service's own model card, until one model answers every time.

    Args:
        find_url: returns the address; may raise CheckError while there is none.
        model: the version that must answer; empty for any.
        deadline_seconds: how long it may take.
        clock: seconds from any start.
        sleep: waits for some seconds.

    Returns:
        The address and the model version that answered.

    Raises:
        CheckError: a wrong answer, or none in time.
    """
    start = clock()
    while True:
        try:
            url = find_url()
            version = _one_model(url, model)
        except (CheckError, OSError, http.client.HTTPException, ValueError) as error:
            if clock() - start >= deadline_seconds:
                raise CheckError(f"no good answer in {deadline_seconds:.0f} s: {error}") from error
            sleep(5.0)
        else:
            return f"{url} answered {SMOKE_REQUESTS} times with model {version}"


def _one_model(url: str, wanted: str) -> str:
    versions = sorted({_predict(url) for _ in range(SMOKE_REQUESTS)})
    if len(versions) > 1:
        raise CheckError(f"models {' and '.join(versions)} answer at once")
    if wanted and versions != [wanted]:
        raise CheckError(f"model {versions[0]} answers, not {wanted}")
    return versions[0]


def _predict(url: str) -> str:
    sample = _field(_request(f"{url}/model"), "sample", url)
    answer = _request(f"{url}/predict/", json.dumps(_field(sample, "instance", url)).encode())
    predicted, expected = (_field(each, "predicted_class", url) for each in (answer, sample))
    if predicted != expected:
        raise CheckError(
            f"{url}/predict/ answered {predicted!r} to the sample of GET /model, which is "
            f"{expected!r}"
        )
    return str(_field(answer, "model_version", url))


def _field(document: Any, name: str, url: str) -> Any:
    if not isinstance(document, dict) or name not in document:
        raise CheckError(
            f"{url} answered {str(document)[:200]}, which has no {name!r}: another server?"
        )
    return document[name]


def _request(url: str, body: bytes | None = None) -> dict[str, Any]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as response:
            document = json.load(response)
    except urllib.error.HTTPError as error:
        raise CheckError(f"{url} answered {error.code}: {error.read(500).decode()}") from error
    if not isinstance(document, dict):
        raise CheckError(f"{url} answered {document!r}, which is no JSON object")
    return document


def traces(kubectl: Kubectl) -> list[str]:
    """Send a span from inside the head and a worker: each has an identity of its own.

    Returns:
        What the application said, a line for each pod.

    Raises:
        CheckError: a span was refused; the application's own words name the fix.
    """
    service = kubectl.get("rayservice", RAY_SERVICE)
    cluster = active_cluster_name(service) if service else ""
    if not cluster:
        raise CheckError("no cluster serves yet")
    said = []
    for node_type in ("head", "worker"):
        labels = f"ray.io/cluster={cluster},ray.io/node-type={node_type}"
        pods = kubectl.read("get", "pods", f"--selector={labels}", RUNNING, "-oname").split()
        if not pods:
            raise CheckError(f"cluster {cluster} has no running {node_type} pod")
        try:
            words = kubectl.read("exec", pods[0], "--", *TRACING_CHECK)
        except CommandError as error:
            raise CheckError(f"{pods[0]} cannot write spans: {error}") from error
        if not any(line.startswith(SPAN_TAKEN) for line in words.splitlines()):
            raise CheckError(f"{pods[0]} wrote no span: {words or 'it said nothing'}")
        said.append(f"{pods[0]}: {words}")
    return said


def diagnose(kubectl: Kubectl) -> str:
    """What to read after a failure: states, events and the last log lines; no secret is in it."""
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
        pods = kubectl.read("get", "pods", RAY_PODS, RUNNING, "-oname").split()
    except CommandError as error:
        return "\n\n".join([*sections, str(error)])
    # Ray keeps them in files: Serve's controller, ingresses and replicas write nowhere else.
    tail = ("sh", "-c", f"tail --lines={LOG_LINES} {SERVE_LOGS}")
    sections += [_section(kubectl, "exec", pod, "--", *tail) for pod in pods]
    return "\n\n".join(sections)


def _section(kubectl: Kubectl, *command: str) -> str:
    try:
        output = kubectl.read(*command)
    except CommandError as error:
        output = str(error)
    return f"## kubectl {' '.join(command)}\n{output}"
