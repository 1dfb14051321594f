"""Environment variables of the production mode.

Ray reads them when it is imported, in every process. The container image sets the same variables,
because KubeRay starts Ray nodes without `serve_app.runtime.launch`.
"""

import sysconfig
from collections.abc import Mapping
from pathlib import Path

from serve_app.errors import UserError
from serve_app.ray_internals.haproxy import HAPROXY_MAXCONN_VARIABLE, HAPROXY_PATH_VARIABLE

EXPORTER_VARIABLE = "OTEL_TRACES_EXPORTER"
NO_EXPORTER = "none"
SAMPLING_RATIO = "RAY_SERVE_TRACING_SAMPLING_RATIO"
TRACING_IMPORT_PATH = "serve_app.tracing.hook:span_processors"


class EnvironmentVariableError(UserError):
    """A variable with an impossible value: names both."""


PRODUCTION: Mapping[str, str] = {
    # HAProxy in front of the replicas, and user code in the replica's main thread: together more
    # than ten times the throughput of Serve's defaults.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Replicas count requests, in bulk. HAProxy would write a line for each, which Python parses.
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    # More threads cost a fifth more processor time, one is slower where there is little to do; two
    # carry several replicas.
    "RAY_SERVE_HAPROXY_NBTHREAD": "2",
    # Replicas and proxies tell Ray once a second what they have counted; Serve's ten times cost an
    # idle replica a quarter of its processor time.
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",
    # Serve itself answers some hostile headers with 500.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.http.middleware:middlewares",
    # A worker process imports Serve before it is needed, and without pandas.
    "RAY_preload_python_modules": "serve_app.ray_internals.preload",
    # Ray runs replicas and HAProxy at niceness 15, so that every other process has priority.
    "RAY_worker_niceness": "0",
    # One replica is one CPU.
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # What follows, and what serve-app-haproxy adds to it: docs/decisions/0015-ingress-limits.md.
    HAPROXY_MAXCONN_VARIABLE: "10000",
    # The longest URL and head are twice as long as those that are accepted: a client that sends
    # more than is accepted is told so.
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "32768",
    # A client that sends or reads nothing for so long is gone. Serve's keep-alive is another one.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "30",
    # A replica tells a controller that starts again about itself in 128 kB. Above 100 kB Ray sends
    # them through its object store, which a new head cannot use for half a minute: other nodes do
    # not know it yet. docs/decisions/0018-state-of-the-head.md.
    "RAY_max_direct_call_object_size": "1048576",
    # After so many seconds the controller kills all replicas that have not told it. Serve's 30 s
    # are few on a busy machine. That a replica has ended is known without this time.
    "RAY_SERVE_SLOW_STARTUP_WARNING_S": "120",
    # A prediction may be repeated. So a replica that dies costs no answer while there is another.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
}

ONE_MACHINE: Mapping[str, str] = {
    # HAProxy needs two health checks to notice that a replica drains, and the replica must answer
    # until then. Ray's defaults, 5 s between checks and 30 s of draining, are made for load
    # balancers and would make Ctrl-C as slow. How long a check may take is another value.
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "4",
    # The controller looks ten times a second whether anything is to be done, by default: with its
    # questions, a third of what an idle service costs.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
    # Metrics and health checks for this machine only.
    "SERVE_APP_OPERATIONS_HOST": "127.0.0.1",
}


HAPROXY_PROGRAM = "serve-app-haproxy"
"""Installed beside ``serve-app``; Ray starts it as HAProxy."""


def haproxy_program() -> Path:
    """Path of `HAPROXY_PROGRAM` in this Python environment.

    Raises:
        EnvironmentVariableError: it is not installed.
    """
    path = Path(sysconfig.get_path("scripts")) / HAPROXY_PROGRAM
    if not path.exists():
        raise EnvironmentVariableError(
            f"{path} is missing: install serve-app again, or name an HAProxy of your own in "
            f"{HAPROXY_PATH_VARIABLE}"
        )
    return path


def exporter_name(environment: Mapping[str, str]) -> str:
    """The span exporter that ``OTEL_TRACES_EXPORTER`` names; `NO_EXPORTER` by default."""
    return environment.get(EXPORTER_VARIABLE, "") or NO_EXPORTER


def tracing_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables of Ray Serve's tracing hook that follow from the standard ``OTEL_*`` ones.

    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/

    Raises:
        EnvironmentVariableError: ``OTEL_TRACES_SAMPLER_ARG`` is not a ratio; Ray would refuse to
            start with it.
    """
    exporter = exporter_name(environment)
    if exporter == NO_EXPORTER:
        return {}
    variables = {"RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": TRACING_IMPORT_PATH}
    if exporter == "gcp_trace":
        # Ray creates the tracer provider without a resource, so the SDK asks the detectors named
        # here. On GKE, Google's detector finds project, cluster and location.
        variables["OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"] = "gcp"
    if ratio := environment.get("OTEL_TRACES_SAMPLER_ARG"):
        variables[SAMPLING_RATIO] = _checked_ratio(ratio)
    return variables


def _checked_ratio(text: str) -> str:
    try:
        valid = 0 <= float(text) <= 1
    except ValueError:
        valid = False
    if not valid:
        raise EnvironmentVariableError(
            f"OTEL_TRACES_SAMPLER_ARG={text!r} is not a ratio from 0 to 1"
        )
    return text


def launch_environment(
    environment: Mapping[str, str], defaults: Mapping[str, str] | None = None
) -> dict[str, str]:
    """``environment`` with the variables of the production mode on one machine.

    Args:
        environment: variables of the user.
        defaults: further variables, which follow from what will be deployed.

    Variables that are set already keep their values, with one exception: the image sets a default
    for Ray's sampling ratio, and ``OTEL_TRACES_SAMPLER_ARG`` takes precedence over it.

    Raises:
        EnvironmentVariableError: see `tracing_environment` and `haproxy_program`.
    """
    tracing = tracing_environment(environment)
    ratio = {name: value for name, value in tracing.items() if name == SAMPLING_RATIO}
    found = {**PRODUCTION, **ONE_MACHINE, **tracing, **(defaults or {}), **environment, **ratio}
    if HAPROXY_PATH_VARIABLE not in found:
        found[HAPROXY_PATH_VARIABLE] = str(haproxy_program())
    return found
