"""The load test's own options, beside Locust's."""

import argparse
from typing import Any

from loadtest.command_line import find_bad_number
from loadtest.driver.scenarios import SCENARIOS, Scenario


def chosen_scenario(options: argparse.Namespace) -> Scenario:
    """The scenario that was chosen on the command line or in the web UI."""
    return SCENARIOS[options.scenario]


def add_options(parser: argparse.ArgumentParser, **_: Any) -> None:
    """Add them to Locust's parser; its web UI shows them, too."""
    group = parser.add_argument_group("Scenario and thresholds")
    described = "; ".join(f"{name}: {s.description}" for name, s in SCENARIOS.items())
    group.add_argument(
        "--scenario",
        choices=list(SCENARIOS),
        default="baseline",
        help=f"load over time. {described}",
    )
    group.add_argument(
        "--user-rate",
        type=float,
        default=1.0,
        help="requests per second of each user in open-loop scenarios, on average (default: 1)",
    )
    group.add_argument(
        "--traceparent-share",
        type=float,
        default=0.1,
        help="share of requests that carry a W3C traceparent header (default: 0.1)",
    )
    group.add_argument(
        "--model-dir",
        default="model",
        help="where the served model may be found to check classes against (default: model)",
    )
    group.add_argument(
        "--max-failure-share",
        type=float,
        default=0.0,
        help="exit code 1 if a larger share of requests fails (default: 0)",
    )
    group.add_argument(
        "--max-p99-ms", type=float, default=0.0, help="exit code 1 if p99 is above (0: no limit)"
    )
    group.add_argument(
        "--min-rps", type=float, default=0.0, help="exit code 1 if the rate is below (0: no limit)"
    )
    group.add_argument(
        "--curve",
        default="",
        metavar="FILE",
        help="write the saturation curve, one row for each step of an open-loop scenario, as CSV",
    )
    group.add_argument(
        "--curve-replicas",
        type=int,
        default=1,
        help="replicas that serve meanwhile, for the curve (default: 1)",
    )


def find_problem(options: argparse.Namespace) -> str | None:
    """Why no load test can be run with ``options``, or None."""
    if options.num_users < 1:
        return f"--users {options.num_users}: a load test needs at least one user"
    bad_number = find_bad_number(
        options, above_zero=["user_rate"], at_least={"max_p99_ms": 0, "min_rps": 0}
    )
    if bad_number is not None:
        return bad_number
    for name in ("traceparent_share", "max_failure_share"):
        value = getattr(options, name)
        if not 0 <= value <= 1:
            return f"--{name.replace('_', '-')} {value}: must be from 0 to 1"
    if options.curve_replicas < 1:
        return f"--curve-replicas {options.curve_replicas}: at least one replica answers"
    if options.curve and not chosen_scenario(options).open_loop:
        open_loop = ", ".join(name for name, scenario in SCENARIOS.items() if scenario.open_loop)
        return (
            f"--curve {options.curve}: users of {options.scenario} offer no fixed rate; take "
            f"--scenario steps (or {open_loop})"
        )
    return None
