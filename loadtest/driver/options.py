"""The load test's own options, declared once for Locust and for ``serve-app load``.

Imports nothing beyond the standard library: ``serve-app --help`` imports this module.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loadtest.driver.scenarios import SCENARIOS, Scenario

if TYPE_CHECKING:
    import argparse


NATIVE, V2, GRPC = "native", "v2", "grpc"
"""Protocols: the service's own, and the Open Inference Protocol V2 over REST and over gRPC."""


@dataclass(frozen=True)
class LoadOption:
    """An option with a value."""

    name: str
    """As in Python, such as ``user_rate`` for ``--user-rate``."""
    default: str | int | float
    """Its type is the option's type."""
    help: str
    minimum: float = -math.inf
    maximum: float = math.inf
    above_minimum: bool = False
    """Whether the value must be above the minimum."""
    choices: tuple[str, ...] = ()
    """The values that there are, if they are few."""

    @property
    def flag(self) -> str:
        """The option on a command line."""
        return f"--{self.name.replace('_', '-')}"

    def parse(self, text: str) -> str | int | float:
        """The value of ``text``.

        Raises:
            argparse.ArgumentTypeError: it is no finite number in the option's range.
        """
        from argparse import ArgumentTypeError

        if isinstance(self.default, str):
            return text
        try:
            value = type(self.default)(text)
        except ValueError as error:
            raise ArgumentTypeError(f"{text!r} is not a number") from error
        least = value > self.minimum if self.above_minimum else value >= self.minimum
        if not (math.isfinite(value) and least and value <= self.maximum):
            most = "" if self.maximum == math.inf else f" and at most {self.maximum:g}"
            bound = "above" if self.above_minimum else "at least"
            raise ArgumentTypeError(f"{text} must be {bound} {self.minimum:g}{most}")
        return value


_RATE_HELP = "Requests per second of each user in open-loop scenarios, on average."
_CURVE_HELP = "CSV file for the saturation curve: one row for each step of an open-loop scenario."
_PROTOCOL_HELP = "What the users speak: /predict/, or the Open Inference Protocol by REST or gRPC."
_GRPC_HELP = (
    "HOST:PORT for the protocol grpc; '' is port 9000 of --host, moved as far as its own port is "
    "from 8000."
)
_ALL = (
    LoadOption("protocol", NATIVE, _PROTOCOL_HELP, choices=(NATIVE, V2, GRPC)),
    LoadOption("grpc_address", "", _GRPC_HELP),
    LoadOption("user_rate", 1.0, _RATE_HELP, minimum=0, above_minimum=True),
    LoadOption("traceparent_share", 0.1, "Share of requests with a W3C traceparent header.", 0, 1),
    LoadOption(
        "model_dir", "model", "Copy of the served model, to check answers against; '' for none."
    ),
    LoadOption("max_failure_share", 0.0, "Exit code 1 if a larger share of requests fails.", 0, 1),
    LoadOption("max_p99_ms", 0.0, "Exit code 1 if p99 is above; 0: no limit.", minimum=0),
    LoadOption("min_rps", 0.0, "Exit code 1 if the rate is below; 0: no limit.", minimum=0),
    LoadOption("curve", "", _CURVE_HELP),
    LoadOption("curve_replicas", 1, "Replicas that serve meanwhile, for the curve.", minimum=1),
)
LOAD_OPTIONS = {option.name: option for option in _ALL}


def chosen_scenario(options: "argparse.Namespace") -> Scenario:
    """The scenario that was chosen on the command line or in the web UI."""
    return SCENARIOS[options.scenario]


def add_options(parser: "argparse.ArgumentParser", **_: Any) -> None:
    """Add them to Locust's parser.

    Locust's web UI offers only options of the parser itself, and none of a group.
    """
    described = "; ".join(f"{name}: {s.description}" for name, s in SCENARIOS.items())
    parser.add_argument(
        "--scenario",
        choices=list(SCENARIOS),
        default="baseline",
        help=f"Load over time. {described}",
    )
    for option in LOAD_OPTIONS.values():
        parser.add_argument(
            option.flag,
            type=option.parse,
            choices=option.choices or None,
            default=option.default,
            help=f"{option.help} (default: {option.default!r})",
        )


def find_problem(options: "argparse.Namespace") -> str | None:
    """Why no load test can run with ``options``, or None."""
    if options.num_users < 1:
        return f"--users {options.num_users}: a load test needs at least one user"
    if options.curve and not chosen_scenario(options).open_loop:
        open_loop = ", ".join(name for name, scenario in SCENARIOS.items() if scenario.open_loop)
        return (
            f"--curve {options.curve}: users of {options.scenario} offer no fixed rate; take the "
            f"scenario steps (or {open_loop})"
        )
    return None
