"""What should be reached, and whether it was."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench import measures
from bench.calls import COMPILED
from bench.models import BATCH_ROWS
from bench.stats import Measurement, Spread, by_round, ratio
from bench.systems import CEILING, FLOOR


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
    base_field: str | None = None
    """Which of its quantities, if not the same."""

    def found(self, measurements: Sequence[Measurement]) -> Spread | None:
        """What was measured; None if nothing was."""
        values = by_round(measurements, self.measure, self.system, self.field)
        if self.base is not None:
            field = self.base_field or self.field
            return ratio(values, by_round(measurements, self.measure, self.base, field))
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
    title, ours = model.upper(), f"ours-{model}-onnx"
    predecessor, tuned = f"predecessor-{model}", f"tuned-{model}"
    throughput = f"{title}, 32 connections: requests/s of"
    p50 = f"{title}, 1 connection: p50 of Ray's ceiling"
    p99 = f"{title}, {measures.OPEN_LOOP_RATE}/s open loop: p99 in ms"
    batches = f"{title}, batches of {BATCH_ROWS}: rows/s"
    at_32, at_least, below = ("throughput-32", ours, "rate"), True, False
    return (
        Goal(f"{throughput} Ray's ceiling", *at_32, 2.3, at_least, CEILING),
        Goal(f"{throughput} a FastAPI application written for speed", *at_32, 4, at_least, tuned),
        Goal(f"{throughput} the predecessor", *at_32, times_predecessor, at_least, predecessor),
        Goal(p50, "throughput-1", ours, "p50_ms", 0.7, below, CEILING),
        Goal(p99, "latency", ours, "p99_ms", 2.2, below),
        Goal(batches, "batch", ours, "rate", rows_per_second, at_least),
    )


def _goals_of_cpu() -> tuple[Goal, ...]:
    """Processor time does not depend on who else has the machine; the floor calibrates it."""
    at_32, below = f"throughput-{measures.MAIN_CONNECTIONS}", False
    whole, replica = "LR, 32 connections: CPU of everything", "LR, 32 connections: CPU of a replica"
    of_floor, ours = "per request, of a constant answer's", "ours-lr-onnx"
    return (
        Goal(f"{replica} {of_floor}", at_32, ours, "cpu_replica_us", 2, below, FLOOR, "cpu_us"),
        Goal(f"{whole} {of_floor}", at_32, ours, "cpu_us", 3.5, below, FLOOR),
    )


def _goals_of_tracing(sampling_ratio: str, least: float) -> tuple[Goal, Goal]:
    traced, off = f"tracing-{sampling_ratio}", "tracing-off"
    measure = f"tracing-{measures.TRACING_CONNECTIONS}"
    rate, p99 = (f"tracing at {sampling_ratio}: {each}" for each in ("requests/s", "p99"))
    return (
        Goal(f"{rate} of tracing off", measure, traced, "rate", least, at_least=True, base=off),
        Goal(f"{p99} of tracing off", measure, traced, "p99_ms", 1.3, at_least=False, base=off),
    )


def _goal_beside(system: str, title: str) -> Goal:
    text, below = f"single rows beside {title}: p99 of single rows alone", False
    return Goal(text, "beside", system, "p99_ms", 3, below, base="beside")


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


def _goals_of_protocols() -> tuple[Goal, ...]:
    at_32 = f"{measures.PROTOCOLS}-{measures.MAIN_CONNECTIONS}"
    title, at_least = f"LR, {measures.MAIN_CONNECTIONS} connections: requests/s of", True
    v2, grpc, predict = (f"ours-{protocol}-lr" for protocol in ("v2", "grpc", "predict"))
    batches = f"LR, V2 in bytes, {measures.PROTOCOL_BATCH_ROWS:,} rows at a time: rows/s"
    rows = (f"{measures.PROTOCOLS}-batch", "ours-binary-lr", "rate", 1_000_000, at_least)
    return (
        Goal(f"{title} V2 in JSON, of /predict/'s", at_32, v2, "rate", 0.9, at_least, predict),
        Goal(batches, *rows),
        Goal(f"{title} gRPC, of MLServer's", at_32, grpc, "rate", 4, at_least, "mlserver-grpc-lr"),
    )


def _goals_of_footprint() -> tuple[Goal, ...]:
    alone, below = "serve_app-no-dashboard", False
    return (
        Goal(
            "serve-app serve: s to the first 200",
            "footprint",
            "serve_app",
            "start_seconds",
            8,
            below,
        ),
        Goal("idle, without dashboard: MB", "footprint", alone, "pss_mb", 700, below),
        Goal("a replica, idle: MB", "footprint", alone, "replica_mb", 90, below),
    )


def _goal_of_call(model: str, title: str) -> Goal:
    text = f"{title}, compiled: µs of a call with one row"
    return Goal(text, "calls", f"{COMPILED}-{model}", "us", limit=100, at_least=False)


GOALS = (
    # Rows/s: the best of seven other servers, measured on another machine.
    *_goals_of("lr", times_predecessor=8, rows_per_second=177_000),
    *_goals_of("rf", times_predecessor=40, rows_per_second=42_000),
    *_goals_of_cpu(),
    *_goals_of_tracing("0", 0.97),
    *_goals_of_tracing("0.1", 0.9),
    _goal_beside("beside-rows", f"{measures.STREAM_ROWS:,} rows at a time"),
    _goal_beside("beside-bytes", f"bodies of {measures.STREAM_BYTES:,} bytes"),
    *_goals_of_mixed(),
    *_goals_of_footprint(),
    *_goals_of_protocols(),
    _goal_of_call("hgb", "HistGradientBoosting"),
    _goal_of_call("lgbm", "LightGBM"),
    _goal_of_call("xgb", "XGBoost"),
)


def goal_results(measurements: Sequence[Measurement]) -> list[tuple[Goal, Spread]]:
    """Every goal of which something was measured."""
    found = [(goal, goal.found(measurements)) for goal in GOALS]
    return [(goal, spread) for goal, spread in found if spread is not None]
