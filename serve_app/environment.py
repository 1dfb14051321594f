"""Environment of the production mode; Ray reads it once, at import, in every process.

The container image sets the same variables, so that a Ray node that KubeRay starts has them too.
"""

from collections.abc import Mapping

TRACING_IMPORT_PATH = "serve_app.tracing:span_processors"

PRODUCTION: Mapping[str, str] = {
    # HAProxy in front of the replicas, and user code in the replica's main thread: together ten
    # times the throughput of Serve's defaults and more.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # One replica is one CPU.
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}

ONE_MACHINE: Mapping[str, str] = {
    # No load balancer in front that has to notice first: drain as long as requests are at hand.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
}


def tracing_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables of Ray Serve's tracing hook that follow from the standard ``OTEL_*`` ones.

    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """
    if environment.get("OTEL_TRACES_EXPORTER", "") in ("", "none"):
        return {}
    hook = {"RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": TRACING_IMPORT_PATH}
    ratio = environment.get("OTEL_TRACES_SAMPLER_ARG")
    return hook | ({"RAY_SERVE_TRACING_SAMPLING_RATIO": ratio} if ratio else {})


def launch_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` with what the production mode on one machine adds; what is set wins."""
    return {**PRODUCTION, **ONE_MACHINE, **tracing_environment(environment), **environment}
