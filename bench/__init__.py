"""Benchmarks: ``python -m bench`` compares the service with other servers, in one run.

Modules, each knowing only those above it:

    stats         what was measured, with medians, ranges and ratios over rounds
    ceiling       Ray's own ceiling: a deployment that answers a constant
    predecessor   FastAPI as it is often written: a DataFrame per request
    tuned         FastAPI written for speed
    otlp_sink     an OTLP server that discards spans
    ray_host      several applications in one Ray, in production mode
    client        load generator in Python: open loop, and closed loop where wrk is missing
    load          runs a load generator and reads its result
    models        trained models in the forms that the systems need
    contestant    a system under load: its address, and whether it answers rightly
    systems       what is measured: the contestants, and the processes in which they run
    measures      the measurements, in alternating rounds
    goals         what should be reached
    machine       what it is measured on
    engines       model calls alone: kinds of estimators, compiled and by themselves
    report        everything as Markdown and JSON
    readme        the figures of README.md
"""

from pathlib import Path

from serve_app.errors import UserError

PROJECT = Path(__file__).parents[1]


class BenchError(UserError):
    """A measurement that cannot be made: names the problem and the fix."""
