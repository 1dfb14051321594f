"""What should be reached, and whether it was."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench import measures
from bench.calls import COMPILED
from bench.models import BATCH_ROWS
from bench.stats import Measurement, Spread, by_round, ratio
from bench.systems import CEILING


@dataclass(frozen=True)
class Goal:
    """A limit for a quantity, or for its ratio to another system's."""

    text: str
    measure: str
    system: str
    field: str
    limit: float
    at_least: bool
    base: str | None = None
    """Quantities are divided by this system's of the same round."""

    def found(self, measurements: Sequence[Measurement]) -> Spread | None:
        """What was measured; None if nothing was."""
        values = by_round(measurements, self.measure, self.system, self.field)
        if self.base is not None:
            return ratio(values, by_round(measurements, self.measure, self.base, self.field))
        return Spread.of(values.values())

    def verdict(self, found: Spread) -> str:
        """Whether the median reaches the goal, and whether the whole range agrees."""
        reached, *ends = (
            value >= self.limit if self.at_least else value < self.limit
            for value in (found.median, found.low, found.high)
        )
        text = "reached" if reached else "NOT reached"
        return text if ends == [reached, reached] else f"{text} (range crosses it)"


def _goals_of(model: str, times_predecessor: float, rows_per_second: float) -> tuple[Goal, ...]:
    title, ours, predecessor = model.upper(), f"ours-{model}-onnx", f"predecessor-{model}"
    throughput = f"{title}, 32 connections: requests/s of"
    p50 = f"{title}, 1 connection: p50 of Ray's ceiling"
    p99 = f"{title}, {measures.OPEN_LOOP_RATE}/s open loop: p99 in ms"
    batches = f"{title}, batches of {BATCH_ROWS}: rows/s"
    at_32, at_least, below = ("throughput-32", ours, "rate"), True, False
    return (
        Goal(f"{throughput} Ray's ceiling", *at_32, 0.85, at_least, CEILING),
        Goal(f"{throughput} the predecessor", *at_32, times_predecessor, at_least, predecessor),
        Goal(p50, "throughput-1", ours, "p50_ms", 1.3, below, CEILING),
        Goal(p99, "latency", ours, "p99_ms", 2.2, below),
        Goal(batches, "batch", ours, "rate", rows_per_second, at_least),
    )


def _goals_of_mixed() -> tuple[Goal, ...]:
    ours, at_least = "ours-mixed-onnx", True
    at_32 = (f"throughput-{measures.MAIN_CONNECTIONS}", ours, "rate")
    throughput = f"mixed columns, {measures.MAIN_CONNECTIONS} connections: requests/s of"
    batches = f"mixed columns, batches of {BATCH_ROWS}: rows/s"
    return (
        Goal(f"{throughput} LR on Iris", *at_32, 0.7, at_least, "ours-lr-onnx"),
        Goal(f"{throughput} the predecessor", *at_32, 20, at_least, "predecessor-mixed"),
        Goal(batches, "batch", ours, "rate", 50_000, at_least),
    )


def _goal_of_call(model: str, title: str) -> Goal:
    text = f"{title}, compiled: µs of a call with one row"
    return Goal(text, "calls", f"{COMPILED}-{model}", "us", limit=100, at_least=False)


GOALS = (
    # Rows/s: the best of seven other servers, measured on another machine.
    *_goals_of("lr", times_predecessor=8, rows_per_second=177_000),
    *_goals_of("rf", times_predecessor=40, rows_per_second=42_000),
    Goal(
        "tracing at 0.1: requests/s of tracing off",
        f"tracing-{measures.TRACING_CONNECTIONS}",
        "tracing-0.1",
        "rate",
        limit=0.9,
        at_least=True,
        base="tracing-off",
    ),
    *_goals_of_mixed(),
    _goal_of_call("hgb", "HistGradientBoosting"),
    _goal_of_call("lgbm", "LightGBM"),
    _goal_of_call("xgb", "XGBoost"),
)


def goal_results(measurements: Sequence[Measurement]) -> list[tuple[Goal, Spread]]:
    """Every goal of which something was measured."""
    found = [(goal, goal.found(measurements)) for goal in GOALS]
    return [(goal, spread) for goal, spread in found if spread is not None]
